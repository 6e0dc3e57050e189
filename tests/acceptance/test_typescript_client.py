"""The TypeScript client against a real API, worker and engines: its README, and its own tests."""

import signal
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page
from standardwebhooks import Webhook

from tests.support.browser import NEEDS_CHROMIUM
from tests.support.client_pages import client_pages
from tests.support.client_run import ClientRun, client_run
from tests.support.free_port import free_port
from tests.support.node import CLIENT, install_client, read_blocks, run_node, run_tests, start_node
from tests.support.waiting import PATIENCE, wait_until
from worker.webhooks.signing import new_secret

PUBLISH, READ, RECEIVE = read_blocks(CLIENT / "README.md", "js")


@pytest.fixture
def run(tmp_path: Path, database_url: str, redis_url: str) -> Generator[ClientRun]:
    """A run of each test's own: events are counted from the first one, and some are deleted."""
    with client_run(tmp_path, database_url, redis_url) as started:
        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project that has the client installed."""
    install_client(tmp_path)
    return tmp_path


def test_the_quick_starts_of_node(run: ClientRun, folder: Path) -> None:
    keys = run.environment
    own = {"PUBLISHER_URL": run.api.url, "PUBLISHER_KEY": keys["PUBLISH_KEY"]}
    (folder / "publish.mjs").write_text(PUBLISH)
    published = run_node("publish.mjs", cwd=folder, **own)
    assert "published at /research/what-is-light-" in published
    assert "scheduled 2030-06-01T15:00:00Z" in published
    assert "8 at 2030-06-02T15:00:00Z" in published
    states = "SELECT state FROM publisher.publish_command WHERE video_id = 8"
    assert run.pipeline.value(states) == "cancelled"

    (folder / "read.mjs").write_text(READ)
    with start_node("read.mjs", cwd=folder, **own) as reading:
        assert reading.stdout is not None
        assert reading.stdout.readline().startswith("1 published https://videos.example/research/")


def test_the_quick_start_of_webhooks(folder: Path) -> None:
    secret, port = new_secret(), free_port()
    (folder / "receive.mjs").write_text(RECEIVE)
    body = '{"id": "e-1", "type": "video.published", "data": {"title": "Zürich"}}'
    now = datetime.now(UTC)
    signed = {
        "webhook-id": "e-1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("e-1", now, body),
    }
    own = {"WEBHOOK_SECRET": secret, "PORT": str(port)}
    with start_node("receive.mjs", cwd=folder, **own) as receiving:
        wait_until(lambda: is_open(port), "the receiver")
        url = f"http://127.0.0.1:{port}/"
        assert (
            httpx.post(url, content=body.encode(), headers=signed, timeout=PATIENCE).status_code
            == 204
        )
        assert httpx.post(url, content=b"{}", headers=signed, timeout=PATIENCE).status_code == 400
        assert receiving.stdout is not None
        assert receiving.stdout.readline() == "video.published e-1\n"


def is_open(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/", timeout=PATIENCE).status_code == 400
    except httpx.TransportError:
        return False


@NEEDS_CHROMIUM
@pytest.mark.parametrize("is_killed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_quick_starts_of_browsers_miss_nothing_even_if_the_api_is_killed(
    run: ClientRun, browser: Browser, *, is_killed: bool
) -> None:
    """One with the client, one with EventSource: both show the same events."""
    with client_pages(run) as url:
        pages = [browser.new_page(), browser.new_page()]
        for page, path in zip(pages, ("/client", "/event-source"), strict=True):
            with page.expect_response(lambda answer: "/events/stream" in answer.url):
                page.goto(f"{url}{path}")
        run.record(2)
        wait_for_items(pages, 2)
        if is_killed:
            run.api.end(signal.SIGKILL)
        run.record(2)
        if is_killed:
            run.api.start()
        wait_for_items(pages, 4)
        run.record(1)
        wait_for_items(pages, 5)
        last = int(run.pipeline.value("SELECT max(position) FROM publisher.outbox_event"))
        expected = [f"{position} What is light?" for position in range(last - 4, last + 1)]
        assert [page.locator("li").all_inner_texts() for page in pages] == [expected, expected]
        for page in pages:
            page.close()


def wait_for_items(pages: list[Page], count: int) -> None:
    for page in pages:
        page.locator("li").nth(count - 1).wait_for(timeout=PATIENCE * 1_000)


def test_publishing_and_what_a_webhook_receives(run: ClientRun) -> None:
    run_tests("publisher", "received", **run.environment)


def test_reading_the_feed_and_the_stream(run: ClientRun) -> None:
    run_tests("feed", "stream", **run.environment)


def test_all_of_it_while_the_api_is_killed(run: ClientRun) -> None:
    run_tests("kill", **run.environment)
