"""A site with the browser pages of the TypeScript client's README, as they stand there."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.client_run import ClientRun
from tests.support.node import CLIENT, read_blocks, run_node

STRIP = """
const { stripTypeScriptTypes } = require("node:module");
const { readdirSync, readFileSync } = require("node:fs");
const files = readdirSync("src").map(name => [name, readFileSync(`src/${name}`, "utf8")]);
const stripped = files.map(([name, code]) => [name, stripTypeScriptTypes(code)]);
console.log(JSON.stringify(Object.fromEntries(stripped)));
"""


@contextmanager
def client_pages(run: ClientRun) -> Generator[str]:
    """The URL of the site, while the block runs. Its pages: `/client` and `/event-source`."""
    with _Site(("127.0.0.1", run.page_port), _Visit) as site:
        site.files = _list_files(run)
        threading.Thread(target=site.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{run.page_port}"
        site.shutdown()


def _list_files(run: ClientRun) -> dict[str, tuple[str, str]]:
    """The pages with a real address and key, and the client as modules that a browser reads."""
    key = run.environment["EVENTS_KEY"]
    client, event_source = (
        page.replace("http://localhost:8000", run.api.url).replace("pw_…", key)
        for page in read_blocks(CLIENT / "README.md", "html")
    )
    modules: dict[str, str] = json.loads(run_node("--no-warnings", "-e", STRIP))
    modules["index.js"] = modules["index.ts"]
    return {"/client": ("text/html", client), "/event-source": ("text/html", event_source)} | {
        f"/publish-worker-client/{name}": ("text/javascript", code)
        for name, code in modules.items()
    }


class _Site(ThreadingHTTPServer):
    daemon_threads = True
    files: dict[str, tuple[str, str]]


class _Visit(BaseHTTPRequestHandler):
    server: _Site  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        kind, text = self.server.files.get(self.path, ("text/plain", ""))
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride]
