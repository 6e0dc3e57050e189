"""Fairness: what one workspace has waiting, or how slowly it answers, delays no other workspace."""

from collections import Counter
from collections.abc import Generator
from unittest.mock import patch
from uuid import UUID

import pytest

from tests.support import receiver as answers
from tests.support.pipeline import BASE_URL, Pipeline
from tests.support.receiver import Receiver, endpoint, receiver
from tests.support.waiting import wait_until
from worker.webhooks import courier as couriers
from worker.webhooks.courier import PER_ENDPOINT, PER_WORKSPACE, Courier, CourierOptions, claim
from worker.webhooks.fan_out import fan_out

SLOW, OTHER = 1, 2
ENDPOINTS = 50


@pytest.fixture
def there() -> Generator[Receiver]:
    with receiver() as started:
        yield started


def publish(pipeline: Pipeline, workspace_id: int, count: int) -> None:
    """Publish videos of a workspace, and fan their events out."""
    pipeline.publish(*(pipeline.video(workspace_id=workspace_id) for _ in range(count)))
    fan_out(pipeline.engine)


def add_waiting(pipeline: Pipeline, endpoint_id: UUID, count: int) -> None:
    """Add due deliveries of an event that is recorded, each of a video of its own."""
    pipeline.execute(
        "INSERT INTO publisher.outbox_event"
        " (position, id, type, video_id, workspace_id, occurred_at, correlation_id, data)"
        " SELECT 1000000 + n, gen_random_uuid(), 'video.published', n, 1, now(), 'c', '{}'"
        " FROM generate_series(1, %s) n",
        count,
    )
    pipeline.execute(
        "INSERT INTO publisher.webhook_delivery"
        " (id, endpoint_id, position, event_id, event_type, video_id, due_at)"
        " SELECT gen_random_uuid(), %s, position, id, type, video_id, now() - interval '1 hour'"
        " FROM publisher.outbox_event WHERE position > 1000000",
        endpoint_id,
    )


def count_claims(pipeline: Pipeline, limit: int) -> Counter[int]:
    """Claim, and count the deliveries by workspace."""
    return Counter(each.receiver.workspace_id for each in claim(pipeline.engine, limit))


@pytest.mark.slow
def test_a_hundred_thousand_waiting_deliveries_are_not_sent_before_those_of_others(
    pipeline: Pipeline, there: Receiver
) -> None:
    first = endpoint(pipeline, there.url(), workspace_id=SLOW)
    endpoint(pipeline, there.url(), workspace_id=OTHER)
    add_waiting(pipeline, first, 100_000)
    assert count_claims(pipeline, 5) == {SLOW: 5}
    publish(pipeline, OTHER, 5)
    assert count_claims(pipeline, 5) == {OTHER: 5}, "those with the fewest in flight come first"


def test_a_workspace_has_a_limit_of_requests_in_flight(pipeline: Pipeline, there: Receiver) -> None:
    for _ in range(ENDPOINTS):
        endpoint(pipeline, there.url(), workspace_id=SLOW)
    endpoint(pipeline, there.url(), workspace_id=OTHER)
    publish(pipeline, SLOW, 5)
    assert count_claims(pipeline, 60) == {SLOW: 60}
    assert count_claims(pipeline, 500) == {SLOW: PER_WORKSPACE - 60}
    publish(pipeline, OTHER, 5)
    assert count_claims(pipeline, 500) == {OTHER: 5}


def test_the_endpoints_of_a_workspace_share_its_requests_evenly(
    pipeline: Pipeline, there: Receiver
) -> None:
    for _ in range(4):
        endpoint(pipeline, there.url())
    publish(pipeline, SLOW, PER_ENDPOINT)
    taken = Counter(each.receiver.id for each in claim(pipeline.engine, 8))
    assert list(taken.values()) == [2] * 4
    taken += Counter(each.receiver.id for each in claim(pipeline.engine, 4))
    assert list(taken.values()) == [3] * 4


def test_fifty_endpoints_that_hang_leave_room_for_other_workspaces(pipeline: Pipeline) -> None:
    courier = Courier(pipeline.engine, CourierOptions(base_url=BASE_URL, allow_private=True))
    with (
        receiver() as there,
        patch.object(couriers, "IN_FLIGHT", 30),
        patch.object(couriers, "PER_WORKSPACE", 20),
    ):
        there.answers["/slow"] = answers.hangs
        for _ in range(ENDPOINTS):
            endpoint(pipeline, there.url("/slow"), workspace_id=SLOW)
        endpoint(pipeline, there.url("/other"), workspace_id=OTHER)
        publish(pipeline, SLOW, 5)
        courier.send_due()
        publish(pipeline, OTHER, 40)

        def is_other_done() -> bool:
            courier.send_due()
            return len(there.at("/other")) == 40

        wait_until(is_other_done, "what another workspace gets")
        assert len(there.at("/slow")) == 20, "still hanging"
    courier.close()
