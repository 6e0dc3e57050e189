"""`publish-worker up`: everything on this machine, until Ctrl-C.

With neither DATABASE_URL nor REDIS_URL set it starts engines of its own, whose data stays.
"""

import shlex
import signal
import subprocess
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text
from sqlalchemy import Engine

from db.migrate import migrate
from db.sample_data import load_sample
from db.session import transaction
from schemas.values.caller import Scope
from worker.local.children import Child, children, interruptible, listen, on_end_signal, with_port
from worker.local.engines import engines, find_data_dir
from worker.local.guard import Guard, start_guard
from worker.local.served_url import served_url
from worker.operations.api_keys import create_key, identify
from worker.operations.console_sessions import create_sign_in_code
from worker.runtime.database import open_engine
from worker.runtime.errors_explained import complain
from worker.runtime.printing import make_console, to_printable
from worker.runtime.settings import SettingsError, UpSettings
from worker.runtime.startup import check_settings

KEY_FILE = "development-key"
COLOURS = {"api": "cyan", "worker": "green", "beat": "magenta"}
CHECK_SECONDS = 0.2
SIGN_IN_AGE = timedelta(hours=1)

USAGE = """
Everything runs. Ctrl-C ends it{data}.

  Console  {console}
  API      {base_url}/api/v1, described at {base_url}/docs
{key}
  Publish a video:
    curl -sX POST {base_url}/api/v1/videos/{video}/publish/ \\
      -H 'Authorization: Bearer {secret}' -H 'Prefer: wait=5' | python3 -m json.tool
{samples}
  In another terminal, in this folder:
    {here}publish-worker events tail --from 1
    {here}publish-worker status

  Programs of yours, celery and uvicorn need these settings; in another terminal:
    export DATABASE_URL={database_url} REDIS_URL={redis_url} PUBLIC_BASE_URL={public_base_url}
"""

CONSOLE = """{base_url}/console/sign-in#{code}
           (signs in once, within an hour; later with the key)"""

SAMPLES = "    (in the sample, 7 is ready, 35 in generation, 36 failed, 43 published)\n"


def up(*, with_platform: bool | None = None, sample: bool | None = None) -> int:
    """Run everything until a signal comes or a process ends; return the exit code.

    `with_platform` makes the platform's tables, `sample` loads the sample videos; None does both
    on our own engines and neither on given ones. Raises SettingsError if a setting is not valid.
    """
    console = make_console()
    with ExitStack() as stack, suppress(KeyboardInterrupt):
        stack.enter_context(interruptible())
        guard = stack.enter_context(start_guard())
        settings, home = _with_engines(UpSettings(), stack, guard, console)
        ours = home is not None
        engine = open_engine(settings)
        stack.callback(engine.dispose)
        sample = ours if sample is None else sample
        _prepare(
            engine,
            console,
            with_platform=sample or (ours if with_platform is None else with_platform),
            sample=sample,
        )
        key = _development_key(engine, home) if home else None
        return _run(engine, settings, home, key, guard, console)
    return 0


def _with_engines(
    settings: UpSettings, stack: ExitStack, guard: Guard, console: Console
) -> tuple[UpSettings, Path | None]:
    """Return the settings with both URLs, and the data directory if the engines are our own."""
    given = [settings.database_url, settings.redis_url]
    if any(given):
        if not all(given):
            raise SettingsError(
                "Only one of DATABASE_URL and REDIS_URL is set: set both, or set neither to start "
                "engines here."
            )
        check_settings(settings)
        return settings, None
    home = find_data_dir(settings.data_dir)
    console.print(f"Starting PostgreSQL and Valkey in {escape(str(home))} …", soft_wrap=True)
    found = stack.enter_context(engines(home, guard=guard))
    urls = {"database_url": found.database_url, "redis_url": found.redis_url}
    return settings.model_copy(update=urls), home


def _prepare(engine: Engine, console: Console, *, with_platform: bool, sample: bool) -> None:
    migrate(engine, with_platform=with_platform)
    if sample:
        with transaction(engine) as tx:
            loaded = load_sample(tx)
        console.print(f"Loaded {loaded} sample videos." if loaded else "The data is still there.")


def _development_key(engine: Engine, home: Path) -> str:
    """Return the key of the last start, or a new one; only the owner can read its file."""
    path = home / KEY_FILE
    if path.exists():
        secret = path.read_text().strip()
        if identify(engine, secret):
            return secret
    secret = create_key(engine, name="development", scope=Scope.ADMIN, workspace_id=None)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(f"{secret}\n")
    return secret


def _run(
    engine: Engine,
    settings: UpSettings,
    home: Path | None,
    key: str | None,
    guard: Guard,
    console: Console,
) -> int:
    ended: SimpleQueue[Child | None] = SimpleQueue()  # a signal handler may call its `put`
    with listen(settings) as listener, _signals_into(ended), ExitStack() as stack:
        wanted, settings = settings.api_port, with_port(settings, listener)
        if home:
            stack.enter_context(served_url(home, settings.public_base_url))
        if wanted not in (0, settings.api_port):
            console.print(f"Port {wanted} is taken: the API is on port {settings.api_port}.")
        with children(settings, listener, lambda _: subprocess.PIPE, guard) as started:
            for child in started:
                _in_background(_print_lines, child, console)
                _in_background(_report_end, child, ended)
            _in_background(_print_usage_when_ready, engine, settings, home, key, console)
            first = ended.get()
            if first is None:
                console.print("\nEnding; work in progress is finished first …")
    if first is None:
        return 0
    complain(f"{first.end_text}, so everything was ended.")
    return 1


def _print_lines(child: Child, console: Console) -> None:
    if child.process.stdout is None:
        return
    for line in child.process.stdout:
        prefix = f"{datetime.now().astimezone():%H:%M:%S} {child.name:<6} │ "
        text = to_printable(line.decode(errors="replace").rstrip("\n"))
        console.print(Text.assemble((prefix, COLOURS[child.name]), text), soft_wrap=True)


def _report_end(child: Child, ended: SimpleQueue[Child | None]) -> None:
    child.process.wait()
    ended.put(child)


def _print_usage_when_ready(
    engine: Engine, settings: UpSettings, home: Path | None, key: str | None, console: Console
) -> None:
    pause = threading.Event()
    while not _is_ready(settings):
        pause.wait(CHECK_SECONDS)
    code = create_sign_in_code(engine, key, SIGN_IN_AGE) if key else None
    console.print(_usage(settings, home, key, code), markup=False, soft_wrap=True)


def _is_ready(settings: UpSettings) -> bool:
    """Whether the API reports that the database, Redis, the worker and beat work."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.api_host, settings.api_host)  # noqa: S104
    connection = HTTPConnection(host, settings.api_port, timeout=10)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200  # noqa: PLR2004
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _usage(settings: UpSettings, home: Path | None, key: str | None, code: str | None) -> str:
    kept = f"  Key      {key}\n           (kept in {home}/{KEY_FILE})\n"
    make = "  Key      make one: publish-worker keys create --all-workspaces --scope publish\n"
    return USAGE.format(
        base_url=settings.public_base_url,
        console=CONSOLE.format(base_url=settings.public_base_url, code=code)
        if code
        else f"{settings.public_base_url}/console/",
        data=f"; the data stays in {home}" if home else "",
        key=kept if key else make,
        secret=key or "$KEY",
        video=7 if home else "{id}",
        samples=SAMPLES if home else "",
        database_url=shlex.quote(settings.database_url or ""),
        redis_url=shlex.quote(settings.redis_url or ""),
        public_base_url=shlex.quote(settings.public_base_url),
        here=".venv/bin/" if Path(".venv/bin/publish-worker").exists() else "",
    )


def _in_background(work: Any, *arguments: Any) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()


@contextmanager
def _signals_into(ended: SimpleQueue[Child | None]) -> Generator[None]:
    """Let signals put None into the queue; after the block they are ignored."""

    def end(*_: object) -> None:
        ended.put(None)

    on_end_signal(end)
    try:
        yield
    finally:
        on_end_signal(signal.SIG_IGN)
