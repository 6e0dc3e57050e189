"""Pictures of the console for its page in docs/: a run of its own, with some activity.

python -m tests.support.console_pictures docs/console
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from tests.support.browser import PHONE, Visit, chromium, visit
from tests.support.console_activity import show_activity
from tests.support.free_port import free_port
from tests.support.receiver import receiver
from tests.support.waiting import wait_until

PAGES = {
    "now": "/console/",
    "calendar": "/console/calendar/",
    "week": "/console/calendar/?view=week&date={tomorrow}",
    "day": "/console/calendar/?view=day&date={tomorrow}",
    "agenda": "/console/calendar/?view=agenda",
    "feeds": "/console/calendar/feeds",
    "videos": "/console/videos/",
    "video": "/console/videos/7",
    "failures": "/console/failures/",
    "dead-letters": "/console/failures/dead-letters/?group=search",
    "quarantine": "/console/failures/quarantine/",
    "webhooks": "/console/webhooks/",
    "keys": "/console/keys/",
    "sessions": "/console/sessions/",
    "audit": "/console/audit/",
}
LOOKS = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 860}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 860}},
    "phone": {"color_scheme": "light", "viewport": PHONE},
}
ADDRESSES = re.compile(r"export DATABASE_URL='?([^\s']+)'? REDIS_URL='?([^\s']+)")


def main(folder: str) -> None:
    """Take a picture of each page in each look."""
    Path(folder).mkdir(exist_ok=True)
    with started() as (url, key, database_url, redis_url), receiver() as there:
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=url, headers=headers, timeout=30) as api:
            show_activity(api, database_url, redis_url, there)
        with chromium() as browser:
            with visit(browser, url) as opened:
                opened.sign_in(key)
                create_feed(opened)
            for look, options in LOOKS.items():
                with visit(browser, url, **options) as opened:
                    opened.sign_in(key)
                    for name, path in PAGES.items():
                        take(opened, path, Path(folder) / f"{name}-{look}.jpg")


@contextmanager
def started() -> Generator[tuple[str, str, str, str]]:
    """Run `publish-worker up`; its address, its key, and the addresses of its engines."""
    with TemporaryDirectory(prefix="console-pictures-", dir="/var/tmp") as home:
        Path(home).chmod(0o755)  # PostgreSQL runs as another user if root starts it
        url, log = f"http://localhost:{(port := free_port())}", Path(home) / "up.log"
        settings = {"DATA_DIR": f"{home}/data", "API_PORT": str(port), "PATH": os.environ["PATH"]}
        settings["WEBHOOKS_ALLOW_PRIVATE"] = "true"
        command = Path(sys.executable).with_name("publish-worker")
        with (
            log.open("w") as output,
            subprocess.Popen([command, "up"], env=settings, stdout=output) as up,
        ):
            try:
                wait_until(lambda: up.poll() or ADDRESSES.search(log.read_text()), "up", 180)
                found = ADDRESSES.search(log.read_text())
                assert found, f"`publish-worker up` ended with {up.poll()}"
                key = Path(f"{home}/data/development-key").read_text().strip()
                yield url, key, found[1], found[2]
            finally:
                up.send_signal(signal.SIGINT)
                up.wait(60)


def create_feed(opened: Visit) -> None:
    """Create a calendar feed, which only the console can."""
    opened.open(PAGES["feeds"])
    opened.page.get_by_label("Workspace").fill("1")
    opened.page.get_by_role("button", name="Create a feed").click()
    opened.page.wait_for_load_state()


def take(opened: Visit, path: str, target: Path) -> None:
    """Take a picture of one page, when all it needs has arrived."""
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    path = path.format(tomorrow=tomorrow)
    opened.page.goto(f"{opened.url}{path}", wait_until="load")
    opened.page.wait_for_function("document.querySelector('#zone').textContent.includes('/')")
    if opened.page.locator("#calendar").count():
        opened.page.locator(".ec-body, .ec-main").first.wait_for()
    opened.page.screenshot(path=target, type="jpeg", quality=72)


if __name__ == "__main__":
    main(sys.argv[1])
