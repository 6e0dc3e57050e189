"""The demo's HTTP client: each call is shown, with its answer and how long that took."""

import time
from collections.abc import Iterable
from typing import Any

import httpx
from rich.text import Text

from worker.local.demo.screen import Screen
from worker.local.demo.waiting import Watch

ENDED = {
    "published",
    "unpublished",
    "unchanged",
    "rejected",
    "expired",
    "cancelled",
    "failed",
}


class Api:
    """One key's view of the API."""

    def __init__(self, client: httpx.Client, screen: Screen, watch: Watch, whose: str = "") -> None:
        self._client = client
        self._screen = screen
        self._watch = watch
        self._whose = whose

    def is_ready(self) -> bool:
        """Whether the API answers, and says that all is well."""
        try:
            return self._client.get("/readyz").is_success
        except httpx.TransportError:
            return False

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        headers: dict[str, str] | None = None,
        show: bool = True,
    ) -> httpx.Response:
        """One request."""
        begun = time.monotonic()
        answer = self._client.request(method, path, json=body, headers=headers)
        if show:
            self._screen.say(self._line(answer, headers or {}, time.monotonic() - begun))
        return answer

    def enter(self, *video_ids: int) -> list[dict[str, Any]]:
        """Bring videos into the scene, as the API shows them."""
        videos = [self.video(video_id) for video_id in video_ids]
        for video in videos:
            state = "draft" if video["is_draft"] else "published"
            self._screen.video(video["id"], video["title"], state)
        return videos

    def video(self, video_id: int) -> dict[str, Any]:
        """The Video as it is now."""
        path = f"/api/v1/videos/{video_id}/"
        return self.call("GET", path, show=False).raise_for_status().json()

    def publish(
        self, video_id: int, *, body: Any = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Enqueue one video; return the command."""
        path = f"/api/v1/videos/{video_id}/publish/"
        answer = self.call("POST", path, body=body, headers=headers)
        command = answer.raise_for_status().json()
        self._screen.step(video_id, "accepted")
        return command

    def publish_all(self, video_ids: Iterable[int]) -> list[dict[str, Any]]:
        """Enqueue several in one call; return the commands."""
        body = {"commands": [{"video_id": video_id} for video_id in video_ids]}
        answer = self.call("POST", "/api/v1/publish-commands", body=body)
        commands = answer.raise_for_status().json()["commands"]
        for command in commands:
            self._screen.step(command["video_id"], "accepted")
        return commands

    def command(self, command_id: str) -> dict[str, Any]:
        """The command as it stands; its video gets on accordingly."""
        path = f"/api/v1/publish-commands/{command_id}"
        command = self.call("GET", path, show=False).raise_for_status().json()
        if command["state"] != "scheduled":
            self._screen.step(command["video_id"], command["state"])
        return command

    def until(self, command_id: str, states: Iterable[str]) -> dict[str, Any]:
        """The command once it is in one of these states."""
        wanted = set(states)

        def look() -> dict[str, Any] | None:
            command = self.command(command_id)
            return command if command["state"] in wanted else None

        return self._watch.wait(look, f"command {command_id} to be {' or '.join(sorted(wanted))}")

    def outcome(self, command_id: str) -> dict[str, Any]:
        """The command once it has ended."""
        return self.until(command_id, ENDED)

    def _line(self, answer: httpx.Response, headers: dict[str, str], seconds: float) -> Text:
        asked = answer.request
        line = Text.assemble((f"{asked.method} ", "bold"), asked.url.raw_path.decode())
        for name, value in headers.items():
            line.append(f"  {name}: {value}", "dim")
        line.append(f"  {self._whose}".rstrip(), "magenta")
        colour = "green" if answer.status_code < 400 else "yellow"  # noqa: PLR2004
        line.append("  → ", "dim").append(f"{answer.status_code} {answer.reason_phrase}", colour)
        return line.append(f"  {seconds * 1000:,.0f} ms", "dim")
