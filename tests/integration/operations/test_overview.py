"""The overview: the numbers and charts of the console's first page, from real commands."""

from datetime import UTC, datetime, timedelta

import psycopg
from hypothesis import given
from hypothesis import strategies as st

from db.events import summary as table
from db.events.summary import EventCount
from db.session import transaction
from publish_worker_client.events.names import EventType
from schemas.command import PublishRequest
from tests.support.pipeline import Pipeline
from tests.support.plans import executed, record_plans
from worker.events.summary import summarise
from worker.operations.overview import find_percentile, read_overview

# Events of the last days: those of the last 1,000 minutes are of the last day.
OLD_EVENTS = """
INSERT INTO publisher.outbox_event (position, id, type, video_id, workspace_id, occurred_at,
                                    correlation_id, data)
SELECT n, gen_random_uuid(), 'video.published', n, 1,
       now() - interval '1 minute' * (5000 - n) - CASE WHEN n <= 4000 THEN interval '2 days' ELSE
       interval '0' END, 'c-1', '{}'
FROM generate_series(1, 5000) n;
UPDATE publisher.event_position SET position = 5000
"""


def ahead(**time: float) -> datetime:
    return datetime.now(UTC) + timedelta(**time)


def test_an_empty_database_has_an_empty_overview(pipeline: Pipeline) -> None:
    found = read_overview(pipeline.engine, None)
    assert (found.counts.due, found.counts.waiting, found.counts.failed) == (0, 0, 0)
    assert found.counts.due_since is None
    assert found.lateness_p99 is None
    assert found.webhooks.deliveries == 0


def test_due_commands_are_counted_with_the_age_of_the_oldest(pipeline: Pipeline) -> None:
    pipeline.accept(pipeline.video(), pipeline.video())
    pipeline.accept(PublishRequest(video_id=pipeline.video(), publish_at=ahead(minutes=5)))
    pipeline.let_pass(seconds=30)
    found = read_overview(pipeline.engine, None)
    assert found.counts.due == 2
    assert found.counts.due_since
    assert timedelta(seconds=30) <= found.counts.now - found.counts.due_since < timedelta(minutes=2)


def test_what_is_due_soon_is_listed_with_its_title_the_latest_first(pipeline: Pipeline) -> None:
    late = pipeline.video(title="Late")
    soon = pipeline.video(title="Soon")
    pipeline.accept(PublishRequest(video_id=soon, publish_at=ahead(minutes=5, seconds=30)))
    pipeline.accept(PublishRequest(video_id=pipeline.video(), publish_at=ahead(hours=1)))
    pipeline.accept(late)
    found = read_overview(pipeline.engine, None)
    assert [each.title for each in found.coming] == ["Late", "Soon"]
    assert found.coming[0].late_seconds >= 0 > found.coming[1].late_seconds
    assert found.counts.by_minute == {5: 1}


def test_commands_that_wait_for_generation_and_failed_ones_are_counted(pipeline: Pipeline) -> None:
    pipeline.publish(pipeline.video(status="in_progress"))
    [failed] = pipeline.publish(pipeline.video())
    pipeline.execute(
        "UPDATE publisher.publish_command SET state = 'failed' WHERE id = %s", failed.id
    )
    counts = read_overview(pipeline.engine, None).counts
    assert (counts.waiting, counts.failed) == (1, 1)


def test_a_workspace_sees_only_its_own_numbers(pipeline: Pipeline) -> None:
    pipeline.publish(pipeline.video(workspace_id=1))
    pipeline.accept(pipeline.video(workspace_id=1))
    summarise(pipeline.engine)
    other, own = read_overview(pipeline.engine, 2), read_overview(pipeline.engine, 1)
    assert (other.counts.due, other.published_last_minute, list(other.coming)) == (0, 0, [])
    assert (own.counts.due, own.published_last_minute, len(own.coming)) == (1, 1, 1)
    assert own.hour.total(EventType.PUBLISHED) == own.day.total(EventType.PUBLISHED) == 1


def test_each_event_is_summarised_once_however_often_it_runs(pipeline: Pipeline) -> None:
    pipeline.publish(*(pipeline.video() for _ in range(3)))
    for _ in range(3):
        summarise(pipeline.engine)
    pipeline.publish(pipeline.video())
    summarise(pipeline.engine)
    overview = read_overview(pipeline.engine, None)
    assert overview.published_last_minute == overview.hour.total(EventType.PUBLISHED) == 4


def test_the_summary_begins_a_day_ago_and_reads_little_of_what_is_older(
    pipeline: Pipeline, admin: psycopg.Connection
) -> None:
    pipeline.execute(OLD_EVENTS)
    pipeline.publish(pipeline.video())
    pipeline.execute("ANALYZE publisher.outbox_event")
    record_plans(pipeline.engine, admin)
    with executed(pipeline.engine) as plans:
        summarise(pipeline.engine)
    [begin] = [each for each in plans if "NOT EXISTS" in each.text]
    assert begin.count_read("outbox_event") < 50
    overview = read_overview(pipeline.engine, 1)
    assert overview.day.total(EventType.PUBLISHED) == 1001
    assert overview.hour.total(EventType.PUBLISHED) in (61, 62)
    assert pipeline.value("SELECT position FROM publisher.outlet") == 5001


def test_the_summary_waits_for_no_other_process_that_writes_it(pipeline: Pipeline) -> None:
    summarise(pipeline.engine)  # gives it its place
    pipeline.publish(pipeline.video())
    with transaction(pipeline.engine) as first:
        assert table.summarise(first) == 1
        summarise(pipeline.engine)
    assert read_overview(pipeline.engine, None).published_last_minute == 1


def test_lateness_is_the_time_from_due_to_done(pipeline: Pipeline) -> None:
    pipeline.accept(pipeline.video())
    pipeline.let_pass(seconds=20)
    pipeline.run()
    summarise(pipeline.engine)
    p99 = read_overview(pipeline.engine, None).lateness_p99
    assert p99
    assert 20 <= p99 < 60


@given(st.lists(st.floats(min_value=0.001, max_value=1e5), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_an_upper_bound_and_at_most_a_third_too_large(
    lateness: list[float], share: float
) -> None:
    exact = sorted(lateness)[max(round(share * len(lateness) + 0.4999999) - 1, 0)]
    counts = [
        EventCount(
            began_at=datetime.now(UTC),
            type="video.published",
            step=next(step for step in range(100) if table.to_seconds(step) >= seconds),
            events=1,
        )
        for seconds in lateness
    ]
    found = find_percentile(counts, share)
    assert found is not None
    assert exact <= found * 1.000001
