"""Refusals: why a request was not accepted, or a command not changed. Nothing was written."""

from collections.abc import Sequence

from db.commands.inbox import StoredCommand
from schemas.problem import FieldError
from worker.runtime.refused import Refused


class Refusal(Refused):
    """The text says what is wrong."""


class EnqueueRefused(Refusal):
    """No command was enqueued."""


class RequestInvalid(EnqueueRefused):
    """Some of the requests contradict themselves or the database."""

    def __init__(self, errors: Sequence[tuple[int, FieldError]]) -> None:
        super().__init__("; ".join(f"{error.pointer}: {error.detail}" for _, error in errors))
        self.errors = errors
        """Each with the index of its request."""


class NoSuchVideo(EnqueueRefused):
    """Some of the videos do not exist in the caller's workspace."""

    def __init__(self, indexes: Sequence[int], video_ids: Sequence[int]) -> None:
        super().__init__(f"There is no video {', '.join(map(str, video_ids))}.")
        self.indexes = indexes
        self.video_ids = video_ids


class VideoChanged(EnqueueRefused):
    """Some of the videos are not in the version that the caller expects."""

    def __init__(self, indexes: Sequence[int], video_ids: Sequence[int]) -> None:
        ids = ", ".join(map(str, video_ids))
        super().__init__(f"Video {ids} was changed since the version that was expected.")
        self.indexes = indexes
        self.video_ids = video_ids


class TooManyCommands(EnqueueRefused):
    """A video or a workspace would have more open commands than it may have."""


class KeyReused(EnqueueRefused):
    """The idempotency key was used for another request."""


class ChangeRefused(Refusal):
    """The command was not changed."""


class NoSuchCommand(ChangeRefused):
    """There is no such command in the caller's workspace."""


class CommandEnded(ChangeRefused):
    """The command has ended, or a worker is carrying it out: it is too late to change it."""

    def __init__(self, command: StoredCommand) -> None:
        super().__init__(f"The command ended as '{command.state}'; it cannot be changed any more.")
        self.command = command


class CommandNotFailed(ChangeRefused):
    """Only a failed command can be retried."""

    def __init__(self, command: StoredCommand) -> None:
        super().__init__(f"The command is '{command.state}'; only a failed one can be retried.")
        self.command = command
