"""The examination: every finding, asked side by side; a part that hangs delays no other."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from pydantic import ValidationError
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine

from db.errors import DATABASE_ERRORS
from worker.operations.database_check import check_database
from worker.operations.deadline import Deadline
from worker.operations.doctor.findings import Finding, error, from_check, warning
from worker.operations.doctor.links import Link, assess_link, read_broker_link, read_database_link
from worker.operations.doctor.postgres import examine_postgres
from worker.operations.doctor.redis_server import examine_redis
from worker.operations.doctor.settings import examine_settings, is_usable
from worker.operations.doctor.surroundings import (
    PROVIDER,
    assess_disk,
    assess_settings,
    examine_provider,
)
from worker.operations.health import ANSWER_SECONDS
from worker.operations.health import examine as examine_health
from worker.runtime.database import open_engine
from worker.runtime.redis_clients import open_redis
from worker.runtime.settings import Settings
from worker.runtime.startup import (
    check_amqp_url,
    check_broker_url,
    check_database_url,
    check_redis_url,
)

LONGEST_SECONDS = ANSWER_SECONDS + 1.5
"""The whole examination ends by then."""

Findings = list[Finding]


def examine(settings: Settings, invalid: ValidationError | None, data_dir: Path | None) -> Findings:
    """Return every finding; `data_dir` is the folder of the embedded engines, if they are used."""
    deadline = Deadline(LONGEST_SECONDS)
    waits: list[Callable[[], Findings]] = []

    def start(name: str, read: Callable[[], Findings]) -> None:
        wait = deadline.start(lambda: _without_lost_servers(read))
        waits.append(lambda: wait([_to_late(name)]))

    with ExitStack() as stack:
        has_database = is_usable(check_database_url, settings)
        has_redis = is_usable(check_redis_url, settings)
        if has_database:
            engine = open_engine(settings)
            stack.callback(engine.dispose)
            start("postgres", lambda: examine_postgres(engine, settings.database()))
            if not has_redis:
                start("database", lambda: [from_check(check_database(engine))])
            elif is_usable(check_broker_url, settings):
                redis = stack.enter_context(open_redis(settings.redis()))
                start("health", lambda: _examine_health(settings, engine, redis))
        if has_redis:
            server = stack.enter_context(open_redis(settings.redis()))
            is_broker = not settings.broker_url or settings.broker_url == settings.redis_url
            start("redis server", lambda: examine_redis(server, is_broker=is_broker))
        if issuer := settings.oidc_issuer:
            start(PROVIDER, lambda: [examine_provider(issuer, ANSWER_SECONDS)])
        at_once = [
            *examine_settings(settings, invalid),
            *_examine_surroundings(settings, data_dir),
        ]
        return [*at_once, *(finding for wait in waits for finding in wait())]


def _examine_health(settings: Settings, engine: Engine, redis: Redis) -> Findings:
    amqp = settings.amqp_url if is_usable(check_amqp_url, settings) else None
    outlet = amqp if "amqp" in settings.outlets else None
    checks = examine_health(
        engine, redis, settings.broker(), settings.canary_video_id, amqp_url=outlet
    )
    unknown = [check.name for check in checks if check.detail.startswith("Unknown")]
    known = [from_check(check) for check in checks if check.name not in unknown]
    return [*known, *([_to_unknown(unknown)] if unknown else [])]


def _to_unknown(names: Sequence[str]) -> Finding:
    detail = f"Not examined, because a server cannot be read: {', '.join(names)}."
    return warning("others", detail, "Look at the errors first, then ask again.")


def _examine_surroundings(settings: Settings, data_dir: Path | None) -> Iterable[Finding]:
    links = list(_read_links(settings))
    yield from (assess_link(link) for link in links if link.setting != "DATABASE_URL")
    yield from assess_settings(settings, links)
    if data_dir is not None:
        yield assess_disk(data_dir)


def _read_links(settings: Settings) -> Iterable[Link]:
    """Yield the links of the valid URLs. The session knows whether the database's is encrypted."""
    if is_usable(check_database_url, settings):
        yield read_database_link(settings.database(), is_encrypted=False)
    for name, check in (
        ("REDIS_URL", check_redis_url),
        ("BROKER_URL", check_broker_url),
        ("AMQP_URL", check_amqp_url),
    ):
        url = getattr(settings, name.lower())
        if url and is_usable(check, settings) and (link := read_broker_link(name, url)):
            yield link


def _without_lost_servers(read: Callable[[], Findings]) -> Findings:
    """Return the findings; none if a server cannot be used, which the checks of health explain."""
    try:
        return read()
    except (RedisError, *DATABASE_ERRORS):
        return []


def _to_late(name: str) -> Finding:
    detail = f"No answer within {LONGEST_SECONDS:g} s."
    return error(
        name,
        detail,
        "Look at the server's load, the network, and the URL's port: "
        "another kind of server, or one with or without TLS, may wait there in silence.",
    )
