"""Refusals: why commands were not accepted. Nothing was written, and no wake-up was sent."""

from collections.abc import Sequence

from schemas.problem import FieldError


class EnqueueRefused(Exception):
    """Nothing was enqueued."""


class RequestInvalid(EnqueueRefused):
    """Some of the requests contradict themselves, or what the database has."""

    def __init__(self, errors: Sequence[tuple[int, FieldError]]) -> None:
        super().__init__("; ".join(error.detail for _, error in errors))
        self.errors = errors


class NoSuchVideo(EnqueueRefused):
    """Some of the videos do not exist, as far as the caller can see."""

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


class KeyReused(EnqueueRefused):
    """The idempotency key was used for another request."""
