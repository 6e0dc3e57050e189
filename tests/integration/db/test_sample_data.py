"""The sample has a video of every kind, loads once, and multiplies in one statement."""

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Cursor
from psycopg.rows import TupleRow
from sqlalchemy import Engine

from db.sample_data import NUMBERED, load_sample, multiply_ready
from db.session import Connection, transaction
from publish_worker_client.events.names import Visibility
from schemas.video import CreationStatus, InternalStatus

READY = (
    "status = 'completed' AND internal_status = 'completed' AND NOT is_regenerating"
    " AND is_active AND deleted_at IS NULL AND video <> ''"
)


@pytest.fixture
def empty(engine: Engine) -> Iterator[Connection]:
    with transaction(engine) as connection:
        yield connection


@pytest.fixture
def sample(empty: Connection) -> Connection:
    load_sample(empty)
    return empty


class CountingCursor(Cursor[TupleRow]):
    """Counts what the server is sent."""

    sent = 0

    def execute(self, *args: Any, **options: Any) -> "CountingCursor":
        type(self).sent += 1
        super().execute(*args, **options)
        return self


@pytest.fixture
def counting(empty: Connection) -> type[CountingCursor]:
    class Counter(CountingCursor):
        pass

    empty.cursor_factory = Counter
    return Counter


def column(connection: Connection, query: Any, *parameters: Any) -> list[Any]:
    return [value for (value,) in connection.execute(query, parameters)]


def test_it_answers_how_many_videos_it_loaded(empty: Connection) -> None:
    loaded = load_sample(empty)

    assert column(empty, "SELECT count(*) FROM video") == [loaded]
    assert loaded >= 40


def test_loading_twice_loads_once(sample: Connection) -> None:
    before = column(sample, "SELECT id FROM video")

    assert load_sample(sample) == 0
    assert column(sample, "SELECT id FROM video") == before


def test_a_platform_that_has_a_workspace_is_left_alone(empty: Connection) -> None:
    empty.execute("INSERT INTO workspace (name, custom_url) VALUES ('Ours', 'ours')")

    assert load_sample(empty) == 0
    assert column(empty, "SELECT count(*) FROM video") == [0]


def test_every_status_stage_and_visibility_occurs(sample: Connection) -> None:
    assert set(column(sample, "SELECT status FROM video")) == set(CreationStatus)
    assert set(column(sample, "SELECT internal_status FROM video")) == set(InternalStatus)
    assert set(column(sample, "SELECT visibility FROM video")) == set(Visibility)


@pytest.mark.parametrize("stage", list(InternalStatus)[:-2])
def test_generation_is_under_way_at_every_stage(sample: Connection, stage: str) -> None:
    query = "SELECT id FROM video WHERE status = 'in_progress' AND internal_status = %s"

    assert column(sample, query, stage)


@pytest.mark.parametrize(
    "condition",
    [
        "status = 'failed' AND internal_status = 'failed'",
        "status = 'completed' AND internal_status = 'failed'",
        "status = 'completed' AND internal_status = 'completed' AND is_regenerating",
        "status = 'completed' AND internal_status = 'completed' AND video IS NULL",
        "status = 'completed' AND internal_status = 'completed' AND video = ''",
        "NOT is_active",
        "deleted_at IS NOT NULL AND deleted_by IS NOT NULL",
        "NOT is_draft",
        "workspace_id = 2",
        "source_experience_id IS NOT NULL",
    ],
)
def test_every_special_case_occurs(sample: Connection, condition: str) -> None:
    assert column(sample, f"SELECT id FROM video WHERE {condition}".encode())


def test_the_first_workspace_has_enough_ready_drafts(sample: Connection) -> None:
    query = f"SELECT id FROM video WHERE {READY} AND is_draft AND workspace_id = 1"

    assert len(column(sample, query.encode())) >= 18


def test_scripts_consist_of_the_sections_turns(sample: Connection) -> None:
    rows = sample.execute("""
        SELECT generated_script, string_agg(turn ->> 'text', ' ' ORDER BY "order", place)
        FROM video
        JOIN section ON section.video_id = video.id,
        jsonb_array_elements(content) WITH ORDINALITY AS spoken (turn, place)
        WHERE generated_script IS NOT NULL
        GROUP BY video.id
    """).fetchall()

    assert rows
    for script, spoken in rows:
        assert script.split() == spoken.split()


def test_a_finished_video_lasts_as_long_as_its_sections(sample: Connection) -> None:
    rows = sample.execute("""
        SELECT video.duration, sum(section.duration)
        FROM video JOIN section ON section.video_id = video.id
        WHERE video.status = 'completed'
        GROUP BY video.id
    """).fetchall()

    assert rows
    assert all(duration == total for duration, total in rows)


def test_engagement_is_possible(sample: Connection) -> None:
    impossible = column(
        sample,
        """
        SELECT video_id FROM video_engagement JOIN video ON video.id = video_id
        WHERE unique_viewers > views OR completed_plays > plays
           OR watch_seconds NOT BETWEEN completed_plays * duration AND plays * duration
           OR day < created_at::date
        """,
    )

    assert column(sample, "SELECT count(DISTINCT video_id) FROM video_engagement") > [5]
    assert impossible == []


def test_the_next_insert_gets_a_fresh_id(sample: Connection) -> None:
    for table in NUMBERED:
        fresh = f"SELECT nextval(pg_get_serial_sequence('{table}', 'id')) - max(id) FROM {table}"
        assert column(sample, fresh.encode()) == [1]


def test_multiplying_makes_further_ready_drafts(sample: Connection) -> None:
    ids = multiply_ready(sample, workspace_id=1, count=75)

    query = f"SELECT id FROM video WHERE {READY} AND is_draft AND workspace_id = 1 AND id = ANY(%s)"
    assert sorted(column(sample, query.encode(), ids)) == ids
    assert len(set(ids)) == 75


def test_copies_have_uids_and_fitting_titles_of_their_own(sample: Connection) -> None:
    ids = multiply_ready(sample, workspace_id=1, count=75)

    titles = column(sample, "SELECT title FROM video WHERE id = ANY(%s)", ids)
    uids = column(sample, "SELECT uid FROM video")
    assert "What is attention? · take 2" in titles
    assert "What is attention? · take 3" in titles
    assert max(map(len, titles)) == 255
    assert len(set(uids)) == len(uids)


def test_copies_have_sections_and_tags_like_the_original(sample: Connection) -> None:
    multiply_ready(sample, workspace_id=1, count=20)

    parts = sample.execute("""
        SELECT (SELECT array_agg(section.title ORDER BY "order") FROM section
                WHERE section.video_id = video.id),
               (SELECT array_agg(tag_id ORDER BY tag_id) FROM video_tag
                WHERE video_tag.video_id = video.id)
        FROM video
        WHERE title LIKE 'What is attention?%'
    """).fetchall()
    assert len(parts) == 2
    assert parts[0] == parts[1]
    assert parts[0][1] == [4, 9]


def test_a_second_call_goes_on_where_the_first_stopped(sample: Connection) -> None:
    multiply_ready(sample, workspace_id=2, count=5)
    multiply_ready(sample, workspace_id=2, count=3)

    copies = column(sample, "SELECT title FROM video WHERE title ~ '· take' ORDER BY id")
    assert [title[-6:] for title in copies] == ["take 2"] * 4 + ["take 3"] * 4
    assert len(set(copies)) == 8


def test_nothing_is_multiplied_where_nothing_is_ready(sample: Connection) -> None:
    sample.execute("UPDATE video SET is_active = false WHERE workspace_id = 2")

    assert multiply_ready(sample, workspace_id=2, count=3) == []


def test_the_number_of_statements_does_not_grow(
    sample: Connection, counting: type[CountingCursor]
) -> None:
    made = multiply_ready(sample, workspace_id=1, count=3_000)

    assert len(made) == 3_000
    assert counting.sent == 1
