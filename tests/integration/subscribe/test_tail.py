"""Subscribe: every event from a position on, in order, and no gap passed over in silence."""

from itertools import islice

from tests.support.pipeline import Desk
from worker.subscribe import Missing, Received, follow


def positions(desk: Desk, count: int, after: int | None = 0) -> list[int | None]:
    return [
        item.position if isinstance(item, Received) else None
        for item in islice(follow(desk.redis, after), count)
    ]


def test_a_subscriber_reads_what_is_there_from_the_start(desk: Desk) -> None:
    desk.publish(*(desk.video() for _ in range(5)))
    desk.events()
    assert positions(desk, 5) == [1, 2, 3, 4, 5]


def test_a_subscriber_goes_on_behind_its_position(desk: Desk) -> None:
    desk.publish(*(desk.video() for _ in range(5)))
    desk.events()
    assert positions(desk, 2, after=3) == [4, 5]


def test_a_subscriber_without_a_position_hears_only_what_is_new(desk: Desk) -> None:
    desk.publish(desk.video())
    desk.events()
    following = follow(desk.redis)
    assert next(following) is None
    desk.publish(desk.video())
    desk.events()
    heard = next(following)
    assert isinstance(heard, Received)
    assert heard.position == 2


def test_a_quiet_stream_gives_the_caller_a_chance_to_stop(desk: Desk) -> None:
    assert next(follow(desk.redis, 0)) is None


def test_events_that_are_no_longer_on_the_stream_are_told_of(desk: Desk) -> None:
    desk.publish(*(desk.video() for _ in range(5)))
    desk.events()
    desk.redis.xtrim("video.events", minid="4-0", approximate=False)
    missing, first, *_ = islice(follow(desk.redis, 1), 3)
    assert missing == Missing(first=2, last=3)
    assert isinstance(first, Received)
    assert first.position == 4


def test_a_subscriber_does_not_notice_that_the_stream_was_lost_and_rebuilt(desk: Desk) -> None:
    desk.publish(*(desk.video() for _ in range(3)))
    desk.events()
    following = follow(desk.redis, 0)
    assert [next(following) for _ in range(3)]
    desk.redis.flushall()
    desk.publish(desk.video())
    desk.events()
    heard = next(following)
    assert isinstance(heard, Received)
    assert heard.position == 4
