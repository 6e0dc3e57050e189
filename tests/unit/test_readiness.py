"""Readiness: a video may be published when it is completed, active and not deleted."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import pytest

from schemas.plan import Verdict
from schemas.video import CreationStatus, InternalStatus
from tests.support.facts import READY
from worker.rules import readiness

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def test_a_finished_video_is_ready() -> None:
    assert readiness.assess(READY).verdict is Verdict.READY


@pytest.mark.parametrize(
    ("change", "verdict", "reason"),
    [
        ({"status": "not_started"}, Verdict.NOT_YET, "generation_not_started"),
        ({"status": "in_progress"}, Verdict.NOT_YET, "generation_in_progress"),
        ({"status": "failed"}, Verdict.NEVER, "generation_failed"),
        ({"internal_status": "failed"}, Verdict.NEVER, "generation_failed"),
        ({"internal_status": "merging"}, Verdict.NOT_YET, "generation_in_progress"),
        ({"is_regenerating": True}, Verdict.NOT_YET, "regenerating"),
        ({"video": None}, Verdict.NOT_YET, "file_missing"),
        ({"video": ""}, Verdict.NOT_YET, "file_missing"),
        ({"is_active": False}, Verdict.NEVER, "video_inactive"),
        ({"deleted_at": NOW}, Verdict.NEVER, "video_deleted"),
    ],
)
def test_each_gate_closes_for_its_own_reason(
    change: dict[str, object], verdict: Verdict, reason: str
) -> None:
    assessed = readiness.assess(replace(READY, **change))  # pyright: ignore[reportArgumentType]
    assert (assessed.verdict, assessed.reason) == (verdict, reason)


def test_a_video_that_does_not_exist_is_never_ready() -> None:
    assessed = readiness.assess(None)
    assert (assessed.verdict, assessed.reason) == (Verdict.NEVER, "no_such_video")


def test_every_combination_follows_the_rule() -> None:
    """All 512 combinations against the rule, written down once more in words of its own."""
    combinations = product(
        CreationStatus, InternalStatus, (True, False), (True, False), (None, NOW), ("", "file")
    )
    for status, stage, regenerating, active, deleted, file in combinations:
        video = replace(
            READY,
            status=status.value,
            internal_status=stage.value,
            is_regenerating=regenerating,
            is_active=active,
            deleted_at=deleted,
            video=file,
        )
        hopeless = "failed" in (status, stage) or not active or deleted is not None
        finished = status == "completed" and stage == "completed"
        expected = (
            Verdict.NEVER
            if hopeless
            else Verdict.READY
            if finished and not regenerating and file
            else Verdict.NOT_YET
        )
        assert readiness.assess(video).verdict is expected
        assert readiness.get_verdict(video) is expected


def test_every_check_is_reported_even_when_the_first_one_fails() -> None:
    assessed = readiness.assess(replace(READY, status="failed", is_active=False))
    assert [gate.name for gate in assessed.gates] == [
        "deleted",
        "active",
        "status",
        "internal_status",
        "regeneration",
        "rendered_file",
    ]
