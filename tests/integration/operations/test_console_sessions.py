"""Console sessions: begin with a key or a code, end with it, by time or by log-out."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from db.session import transaction
from schemas.audit import AuditFilter
from schemas.values.caller import Scope
from tests.support.pipeline import Pipeline
from worker.operations import console_sessions, retention
from worker.operations.api_keys import create_key, identify, revoke_key
from worker.operations.audit import list_page
from worker.operations.console_sessions import (
    ConsoleSession,
    NewSession,
    SignInRefused,
    create_sign_in_code,
    derive_csrf_token,
    end_session,
    find_session,
)
from worker.runtime.settings import Settings

BROWSER: dict[str, Any] = {
    "user_agent": "Browser/1.0",
    "client": "203.0.113.7",
    "correlation_id": "c-1",
}


@pytest.fixture
def key(platform: Engine) -> str:
    return create_key(platform, name="editors", scope=Scope.PUBLISH, workspace_id=1)


def sign_in(engine: Engine, secret: str) -> NewSession:
    return console_sessions.create_session(engine, secret, **BROWSER)


def redeem(engine: Engine, code: str) -> NewSession:
    return console_sessions.redeem_sign_in_code(engine, code, **BROWSER)


def find(engine: Engine, token: str) -> ConsoleSession | None:
    with transaction(engine) as tx:
        return find_session(tx, token)


def found(engine: Engine, session: NewSession) -> ConsoleSession:
    """The session, which must be valid."""
    valid = find(engine, session.token)
    assert valid is not None
    return valid


def let_pass(engine: Engine, **time: float) -> None:
    """Let this time pass for every session and code."""
    with transaction(engine) as tx:
        for table, columns in {
            "console_session": ("created_at", "last_seen_at", "expires_at"),
            "sign_in_code": ("expires_at",),
        }.items():
            moves = ", ".join(f"{column} = {column} - %(time)s" for column in columns)
            tx.execute(f"UPDATE publisher.{table} SET {moves}", {"time": timedelta(**time)})  # pyright: ignore[reportArgumentType, reportCallIssue]


def test_a_session_sees_what_its_key_sees(platform: Engine, key: str) -> None:
    session = found(platform, sign_in(platform, key))
    assert session.caller == identify(platform, key)
    assert session.name == "editors"
    assert session.expires_at - session.created_at == timedelta(hours=12)


def test_neither_token_nor_code_is_in_the_database(platform: Engine, key: str) -> None:
    token, code = sign_in(platform, key).token, create_sign_in_code(platform, key)
    with transaction(platform) as tx:
        rows = tx.execute("""
        SELECT to_jsonb(s)::text FROM publisher.console_session s
        UNION ALL SELECT to_jsonb(c)::text FROM publisher.sign_in_code c
        UNION ALL SELECT to_jsonb(e)::text FROM publisher.audit_entry e
        """).fetchall()
    stored = " ".join(text for (text,) in rows)
    assert "Browser/1.0" in stored
    assert not any(secret in stored for secret in (token, code, key))


@pytest.mark.parametrize("secret", ["", "pw_unknown", "\udcff\x00"])
def test_an_unknown_key_begins_no_session(platform: Engine, secret: str) -> None:
    for attempt in (sign_in, create_sign_in_code):
        with pytest.raises(SignInRefused, match="not a valid API key"):
            attempt(platform, secret)


def test_a_key_for_events_alone_is_refused_and_the_log_has_it(platform: Engine) -> None:
    secret = create_key(platform, name="page", scope=Scope.EVENTS, workspace_id=1)
    for attempt in (sign_in, create_sign_in_code):
        with pytest.raises(SignInRefused, match="needs 'read' or above"):
            attempt(platform, secret)
    entry = list_page(platform, AuditFilter(limit=1), 1).items[0]
    assert (entry.action, entry.problem, entry.actor_name) == (
        "session.sign_in",
        "scope-too-low",
        "page",
    )


@pytest.mark.parametrize("token", ["", "unknown", "\udcff\x00"])
def test_another_token_finds_no_session(platform: Engine, key: str, token: str) -> None:
    sign_in(platform, key)
    assert find(platform, token) is None
    assert not end_session(platform, token)


def test_a_revoked_key_ends_its_sessions_and_codes(platform: Engine, key: str) -> None:
    session, code = sign_in(platform, key), create_sign_in_code(platform, key)
    revoke_key(platform, found(platform, session).caller.id)
    assert find(platform, session.token) is None
    for attempt in (lambda: redeem(platform, code), lambda: sign_in(platform, key)):
        with pytest.raises(SignInRefused):
            attempt()


def test_a_session_ends_after_an_hour_without_a_request(platform: Engine, key: str) -> None:
    session = sign_in(platform, key)
    for _ in range(3):
        let_pass(platform, minutes=59)
        assert find(platform, session.token)
    let_pass(platform, minutes=61)
    assert find(platform, session.token) is None


def test_a_session_ends_after_twelve_hours_in_use(platform: Engine, key: str) -> None:
    session = sign_in(platform, key)
    for _ in range(13):
        assert find(platform, session.token)
        let_pass(platform, minutes=55)
    let_pass(platform, minutes=5)
    assert find(platform, session.token) is None


def test_a_log_out_ends_one_session(platform: Engine, key: str) -> None:
    first, second = sign_in(platform, key), sign_in(platform, key)
    assert end_session(platform, first.token, client="203.0.113.7", correlation_id="c-2")
    assert find(platform, first.token) is None
    assert find(platform, second.token)
    entry = list_page(platform, AuditFilter(limit=1), 1).items[0]
    assert (entry.action, entry.door, entry.correlation_id) == (
        "session.sign_out",
        "console",
        "c-2",
    )


def test_each_session_has_its_own_csrf_token(platform: Engine, key: str) -> None:
    first, second = (found(platform, sign_in(platform, key)) for _ in range(2))
    assert first.has_csrf_token(first.csrf_token)
    for other in (second.csrf_token, "", "\udcff"):
        assert not first.has_csrf_token(other)


def test_a_csrf_token_does_not_contain_the_token() -> None:
    token = str(uuid4())
    assert token not in derive_csrf_token(token)


def test_a_code_begins_one_session(platform: Engine, key: str) -> None:
    code = create_sign_in_code(platform, key)
    assert found(platform, redeem(platform, code)).name == "editors"
    with pytest.raises(SignInRefused, match="used already"):
        redeem(platform, code)


def test_of_many_redemptions_at_once_one_succeeds(platform: Engine, key: str) -> None:
    code = create_sign_in_code(platform, key)

    def attempt(_: int) -> NewSession | None:
        try:
            return redeem(platform, code)
        except SignInRefused:
            return None

    with ThreadPoolExecutor(8) as pool:
        begun = [session for session in pool.map(attempt, range(8)) if session]
    assert len(begun) == 1
    assert find(platform, begun[0].token)


def test_a_code_expires(platform: Engine, key: str) -> None:
    code = create_sign_in_code(platform, key)
    let_pass(platform, minutes=16)
    with pytest.raises(SignInRefused, match="expired"):
        redeem(platform, code)


def test_retention_deletes_what_has_expired(pipeline: Pipeline, key: str) -> None:
    engine = pipeline.engine
    sign_in(engine, key)
    create_sign_in_code(engine, key)
    let_pass(engine, minutes=61)
    kept = sign_in(engine, key)
    pruned = retention.prune(engine, pipeline.redis, Settings())
    assert pruned.console_sessions == 2
    assert find(engine, kept.token)
