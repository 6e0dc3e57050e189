"""EventSource in a real browser, while the API is restarted: no gap, no double."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from schemas.values.caller import Scope
from tests.support.api_process import ApiProcess
from tests.support.browser import CHROMIUM, NEEDS_CHROMIUM
from tests.support.pipeline import BASE_URL, Pipeline
from tests.support.waiting import wait_until
from worker.events.redis_stream import relay
from worker.operations.api_keys import create_key

pytestmark = NEEDS_CHROMIUM

PAGE = """<!doctype html><title>events</title><script>
let number = 0;
const source = new EventSource("/api/v1/events/stream?after=0&access_token=KEY");
source.addEventListener("video.published", event => {
  const got = {number: ++number, id: event.lastEventId, sequence: JSON.parse(event.data).sequence};
  fetch("/got", {method: "POST", body: JSON.stringify(got)});
});
</script>
"""


class Site(ThreadingHTTPServer):
    """Serves the page, passes the stream on from the API, and takes what the page got."""

    daemon_threads = True

    def __init__(self, api_port: int, key: str) -> None:
        super().__init__(("127.0.0.1", 0), Visit)
        self.api_port = api_port
        self.page = PAGE.replace("KEY", key)
        self.got: list[dict[str, Any]] = []
        self.streams: list[str | None] = []

    @property
    def positions(self) -> list[int]:
        """What the page got, in its order."""
        return [int(each["id"]) for each in sorted(self.got, key=lambda each: each["number"])]


class Visit(BaseHTTPRequestHandler):
    server: Site  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        if self.path.startswith("/api/"):
            self._pass_on()
        else:
            self._answer("text/html", self.server.page.encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(json.loads(body))
        self._answer("text/plain", b"")

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _pass_on(self) -> None:
        """As a proxy does; while the API is unreachable the connection just ends."""
        last = self.headers["Last-Event-ID"]
        self.server.streams.append(last)
        upstream = HTTPConnection("127.0.0.1", self.server.api_port, timeout=60)
        try:
            upstream.request("GET", self.path, headers={"Last-Event-ID": last} if last else {})
            answer = upstream.getresponse()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.end_headers()
            while chunk := answer.read1():
                self.wfile.write(chunk)
        except OSError:
            return
        finally:
            upstream.close()

    def log_message(self, *_: object) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride]


@contextmanager
def browser(url: str, profile: Path) -> Generator[subprocess.Popen[bytes]]:
    """A real browser that looks at one page."""
    assert CHROMIUM
    process = subprocess.Popen(
        [
            CHROMIUM,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-dev-shm-usage",
            f"--user-data-dir={profile}",
            "--remote-debugging-port=0",  # so that it stays
            url,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def api_process(tmp_path: Path, database_url: str, redis_url: str) -> Generator[ApiProcess]:
    started = ApiProcess(tmp_path / "api.log", database_url, redis_url)
    yield started
    started.process.kill()
    started.process.wait()


@pytest.mark.slow
def test_a_browser_misses_nothing_and_gets_nothing_twice_while_the_api_restarts(
    pipeline: Pipeline, api_process: ApiProcess, tmp_path: Path
) -> None:
    key = create_key(pipeline.engine, name="page", scope=Scope.EVENTS, workspace_id=1)
    told = 0

    def tell(count: int) -> int:
        nonlocal told
        pipeline.publish(*(pipeline.video() for _ in range(count)))
        relay(pipeline.engine, pipeline.redis, BASE_URL)
        told += count
        return told

    def got_all(site: Site) -> None:
        wait_until(lambda: len(site.got) >= told, f"{told} events in the page", timeout=40)

    tell(3)
    with Site(api_process.port, key) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        with browser(f"http://127.0.0.1:{site.server_port}/", tmp_path / "profile"):
            got_all(site)
            tell(3)
            got_all(site)
            for number in (signal.SIGTERM, signal.SIGKILL):
                api_process.end(number)
                tell(3)  # while no API runs
                api_process.start()
                tell(3)
                got_all(site)
        site.shutdown()
    assert site.positions == list(range(1, told + 1))
    assert all(each["id"] == each["sequence"] for each in site.got)
    assert site.streams[0] is None
    assert "6" in site.streams, "it came back by Last-Event-ID"
    log = api_process.log.read_text()
    assert "Cancel" not in log, "the stream ended by itself, before the server's patience did"
    assert key not in log
