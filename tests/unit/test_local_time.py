"""Wall-clock times: which instant a local time means, in zones with odd rules."""

from datetime import UTC, datetime, timedelta
from importlib import resources
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.command import PublishOptions
from worker.rules.local_time import (
    AmbiguousTime,
    LocalTimeError,
    NonexistentTime,
    compute_zone_digest,
    recompute_instant,
    to_instant,
    to_publication_moment,
)

ZONES = sorted(available_timezones() - {"localtime", "Factory"})


def local(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2026-12-01T18:00", "Europe/Berlin", "2026-12-01T17:00Z"),
        ("2026-07-01T18:00", "Europe/Berlin", "2026-07-01T16:00Z"),
        ("2026-07-01T18:00", "Asia/Kathmandu", "2026-07-01T12:15Z"),
        # Lord Howe moves its clocks by half an hour.
        ("2026-10-04T01:59:59", "Australia/Lord_Howe", "2026-10-03T15:29:59Z"),
        ("2026-10-04T02:30", "Australia/Lord_Howe", "2026-10-03T15:30Z"),
        # Cairo begins summer at midnight of a Friday, and ends it at midnight of another.
        ("2026-04-23T23:59:59", "Africa/Cairo", "2026-04-23T21:59:59Z"),
        ("2026-04-24T01:00", "Africa/Cairo", "2026-04-23T22:00Z"),
        # Apia skipped a whole day to change sides of the date line.
        ("2011-12-29T23:59:59", "Pacific/Apia", "2011-12-30T09:59:59Z"),
        ("2011-12-31T00:00", "Pacific/Apia", "2011-12-30T10:00Z"),
    ],
)
def test_a_local_time_means_an_instant(text: str, zone: str, expected: str) -> None:
    assert to_instant(local(text), zone) == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    ("text", "zone", "before", "after"),
    [
        ("2026-03-29T02:30", "Europe/Berlin", "2026-03-29T01:59:59", "2026-03-29T03:00:00"),
        ("2026-10-04T02:15", "Australia/Lord_Howe", "2026-10-04T01:59:59", "2026-10-04T02:30:00"),
        ("2026-04-24T00:00", "Africa/Cairo", "2026-04-23T23:59:59", "2026-04-24T01:00:00"),
        ("2011-12-30T12:00", "Pacific/Apia", "2011-12-29T23:59:59", "2011-12-31T00:00:00"),
    ],
)
def test_a_local_time_that_does_not_exist_is_refused_with_the_nearest_that_do(
    text: str, zone: str, before: str, after: str
) -> None:
    with pytest.raises(NonexistentTime) as refused:
        to_instant(local(text), zone)
    assert (refused.value.before, refused.value.after) == (local(before), local(after))
    assert before in str(refused.value)
    assert after in str(refused.value)


@pytest.mark.parametrize(
    ("text", "zone", "first", "second"),
    [
        ("2026-10-25T02:30", "Europe/Berlin", "2026-10-25T00:30Z", "2026-10-25T01:30Z"),
        ("2026-04-05T01:45", "Australia/Lord_Howe", "2026-04-04T14:45Z", "2026-04-04T15:15Z"),
        ("2026-10-29T23:30", "Africa/Cairo", "2026-10-29T20:30Z", "2026-10-29T21:30Z"),
        ("2021-04-04T03:30", "Pacific/Apia", "2021-04-03T13:30Z", "2021-04-03T14:30Z"),
    ],
)
def test_a_local_time_that_exists_twice_is_refused_unless_fold_says_which(
    text: str, zone: str, first: str, second: str
) -> None:
    with pytest.raises(AmbiguousTime):
        to_instant(local(text), zone)
    assert to_instant(local(text), zone, 0) == datetime.fromisoformat(first)
    assert to_instant(local(text), zone, 1) == datetime.fromisoformat(second)


@given(
    st.sampled_from(ZONES),
    st.datetimes(local("1990-01-01T00:00"), local("2040-01-01T00:00")),
    st.sampled_from([0, 1]),
)
def test_an_accepted_local_time_is_shown_by_the_zones_clocks(
    zone: str, time: datetime, fold: int
) -> None:
    try:
        at = to_instant(time, zone, fold)
    except NonexistentTime as error:
        refused = error
    else:
        assert at.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0) == time
        return
    assert refused.before < time < refused.after
    for nearest in (refused.before, refused.after):
        assert to_instant(nearest, zone, fold).tzinfo is UTC


@given(
    st.sampled_from(["Australia/Lord_Howe", "Africa/Cairo", "Europe/Berlin", "America/St_Johns"]),
    st.integers(0, 366 * 24 * 12),
)
def test_every_instant_of_a_year_has_a_local_time_that_means_it(zone: str, step: int) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC) + step * timedelta(minutes=5)
    shown = at.astimezone(ZoneInfo(zone))
    assert to_instant(shown.replace(tzinfo=None, fold=0), zone, shown.fold) == at


def test_a_time_that_was_accepted_once_is_never_refused_later() -> None:
    skipped = recompute_instant(local("2026-03-29T02:30"), "Europe/Berlin", None)
    assert skipped == datetime.fromisoformat("2026-03-29T01:30Z")
    assert recompute_instant(local("2026-10-25T02:30"), "Europe/Berlin", 1) == (
        datetime.fromisoformat("2026-10-25T01:30Z")
    )


def test_a_zones_digest_is_of_its_rules() -> None:
    assert compute_zone_digest("Europe/Berlin") != compute_zone_digest("Africa/Cairo")
    assert compute_zone_digest("Europe/Berlin") == compute_zone_digest("Europe/Berlin")


def test_a_moment_keeps_its_local_time_and_zone() -> None:
    said = PublishOptions.model_validate(
        {"publish_at_local": "2026-10-25T02:30", "time_zone": "Europe/Berlin", "fold": 1}
    )
    moment = to_publication_moment(said)
    assert moment is not None
    assert moment.at == datetime.fromisoformat("2026-10-25T01:30Z")
    assert (moment.local_time, moment.time_zone, moment.fold) == (
        local("2026-10-25T02:30"),
        "Europe/Berlin",
        1,
    )


@pytest.mark.parametrize(
    "said",
    [
        {"publish_at_local": "2026-12-01T18:00"},
        {"time_zone": "Europe/Berlin"},
        {"publish_at": "2026-12-01T18:00:00Z", "time_zone": "Europe/Berlin"},
        {
            "publish_at": "2026-12-01T18:00:00Z",
            "publish_at_local": "2026-12-01T18:00",
            "time_zone": "Europe/Berlin",
        },
        {"publish_at_local": "2026-12-01T18:00Z", "time_zone": "Europe/Berlin"},
        {"publish_at_local": "2026-12-01T18:00", "time_zone": "Europe/Atlantis"},
        {"publish_at_local": "2026-12-01", "time_zone": "Europe/Berlin"},
        {"publish_at": "2026-12-01T18:00:00"},
    ],
)
def test_incomplete_times_are_refused(said: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        PublishOptions.model_validate(said)


@pytest.mark.parametrize(
    "name",
    [
        "localtime",
        "Factory",
        "posixrules",
        "posix/UTC",
        "right/UTC",
        "../zoneinfo/UTC",
        "/usr/share/zoneinfo/UTC",
        "europe/berlin",
        "UTC ",
        "",
        "tzdata.zi",
        "Europe",
    ],
)
def test_a_name_that_iana_does_not_have_is_not_a_time_zone(name: str) -> None:
    with pytest.raises(ValueError, match="validation error"):
        PublishOptions.model_validate({"publish_at_local": "2026-12-01T18:00", "time_zone": name})


def test_every_name_of_iana_is_a_time_zone() -> None:
    names = resources.files("tzdata").joinpath("zones").read_text().split()
    for name in sorted(set(names) - {"Factory"}):
        options = {"publish_at_local": "2026-12-01T18:00", "time_zone": name}
        assert PublishOptions.model_validate(options).time_zone == name


@pytest.mark.parametrize("digits", ["1", "123456", "1234567", "123456789"])
def test_a_local_time_may_have_the_digits_that_an_instant_may_have(digits: str) -> None:
    local_form = {"publish_at_local": f"2026-12-01T18:00:00.{digits}", "time_zone": "UTC"}
    instant = {"publish_at": f"2026-12-01T18:00:00.{digits}Z"}
    moments = [
        to_publication_moment(PublishOptions.model_validate(each)) for each in (local_form, instant)
    ]
    assert moments[0] is not None
    assert moments[1] is not None
    assert moments[0].at == moments[1].at


def test_refusals_are_local_time_errors() -> None:
    assert issubclass(NonexistentTime, LocalTimeError)
    assert issubclass(AmbiguousTime, LocalTimeError)
