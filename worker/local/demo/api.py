"""The demo's HTTP client: prints each request with its answer and the time that it took."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import httpx
from rich.text import Text

from schemas.command import CommandState
from worker.local.demo.screen import Screen
from worker.local.demo.waiting import Monitor


@dataclass(frozen=True)
class Api:
    """The API with one key; `note` says which, if it is not the usual one."""

    client: httpx.Client
    screen: Screen
    monitor: Monitor
    note: str = ""

    def is_ready(self) -> bool:
        """Whether the API answers, and reports that everything works."""
        try:
            return self.client.get("/readyz").is_success
        except httpx.TransportError:
            return False

    def call(
        self, method: str, path: str, *, body: Any = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """Send a request and print it."""
        begun = time.monotonic()
        answer = self.client.request(method, path, json=body, headers=headers)
        self.screen.print(self._line(answer, headers or {}, time.monotonic() - begun))
        return answer

    def show_videos(self, *video_ids: int) -> list[dict[str, Any]]:
        """Read videos and add them to the scenario."""
        videos = [self.video(video_id) for video_id in video_ids]
        for video in videos:
            state = "draft" if video["is_draft"] else "published"
            self.screen.add_video(video["id"], video["title"], state)
        return videos

    def video(self, video_id: int) -> dict[str, Any]:
        """Read a Video."""
        return self.client.get(f"/api/v1/videos/{video_id}/").raise_for_status().json()

    def publish(
        self, video_id: int, *, body: Any = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Enqueue one video; return the command."""
        path = f"/api/v1/videos/{video_id}/publish/"
        command = self.call("POST", path, body=body, headers=headers).raise_for_status().json()
        self.screen.advance(video_id, "accepted")
        return command

    def publish_all(self, video_ids: Iterable[int]) -> None:
        """Enqueue several videos in one request."""
        body = {"commands": [{"video_id": video_id} for video_id in video_ids]}
        answer = self.call("POST", "/api/v1/publish-commands", body=body).raise_for_status()
        for command in answer.json()["commands"]:
            self.screen.advance(command["video_id"], "accepted")

    def wait_for_state(self, command_id: str, states: Iterable[str]) -> dict[str, Any]:
        """Return the command once it is in one of these states."""
        wanted = set(states)

        def read() -> dict[str, Any] | None:
            path = f"/api/v1/publish-commands/{command_id}"
            command = self.client.get(path).raise_for_status().json()
            if command["state"] != "scheduled":
                self.screen.advance(command["video_id"], command["state"])
            return command if command["state"] in wanted else None

        description = f"command {command_id} to be {' or '.join(sorted(wanted))}"
        return self.monitor.wait_for(read, description)

    def wait_for_outcome(self, command_id: str) -> dict[str, Any]:
        """Return the command once it has ended."""
        return self.wait_for_state(command_id, filter(attrgetter("is_outcome"), CommandState))

    def _line(self, answer: httpx.Response, headers: dict[str, str], seconds: float) -> Text:
        request = answer.request
        line = Text.assemble((f"{request.method} ", "bold"), request.url.raw_path.decode())
        for name, value in headers.items():
            line.append(f"  {name}: {value}", "dim")
        line.append(f"  {self.note}".rstrip(), "magenta")
        colour = "yellow" if answer.is_error else "green"
        line.append("  → ", "dim").append(f"{answer.status_code} {answer.reason_phrase}", colour)
        return line.append(f"  {seconds * 1000:,.0f} ms", "dim")
