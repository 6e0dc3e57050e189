"""Sessions: the engine, and a transaction on the driver's own connection."""

import select
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar, cast
from uuid import UUID

import psycopg
from psycopg import errors
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from pydantic_core import to_json
from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy import Connection as SqlalchemyConnection
from sqlalchemy.exc import DisconnectionError

from db.errors import NoAnswer, SettingsDropped, is_away
from publish_worker_client.servers.database_errors import is_useless_session
from publish_worker_client.servers.database_url import read_url

T = TypeVar("T")
Connection = psycopg.Connection[TupleRow]
Answer = Callable[[], T]
"""Of a statement in a pipeline. To be called when the pipeline has ended."""

LOCK_SECONDS = 10
"""Less than half of a statement's time, because the position counter is waited for in two steps:
first for the queue, then for its holder. So the error is that of a lock, and no command's fault."""
STATEMENT_SECONDS = 30
"""Also for a whole transaction, where the server is PostgreSQL 17 or newer."""
CONNECT_SECONDS = 5
PREPARE_THRESHOLD = 5
"""A statement is prepared when it has run this number of times in a session."""
BRIEF_SECONDS = 2
"""The limit of a statement of a check."""
SILENCE_SECONDS = 5
"""The server ends its statements itself; if it does not answer for this much longer, it hangs."""

# The server ends the session of a client that stopped or vanished: it may hold locks. The last four
# are for a host that is lost (5 s): it sends no end of its connections.
_SETTINGS = {
    "idle_in_transaction_session_timeout": "5s",
    "lock_timeout": f"{LOCK_SECONDS}s",
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "random_page_cost": "1.1",  # for SSDs: the claim must use its index however large it is
    "timezone": "UTC",
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "5000",
}
_KEEPALIVES = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 12_000,
}
"""How the client notices a lost server, in seconds but for the last one (ms). That one is longer
than the API waits for an answer: both ends would be different errors."""
_MARK = "publisher.direct"
"""A setting without effect: where it is missing, a connection pooler has dropped the settings."""

_FAMILY = "publish_worker_family"
"""The engine's option that holds its `Family`."""

# Apply settings until the end of the transaction.
SET_LOCALLY = """
SELECT set_config(name, setting, true)
FROM json_each_text(%(settings)s::json) AS each(name, setting)
WHERE name <> 'transaction_timeout' OR current_setting('server_version_num')::int >= 170000
"""

# In a new session: whether the settings that were sent with it are in effect. If they are, set the
# one that older servers do not know.
OPEN = f"""
SELECT mark IS NOT NULL, CASE
           WHEN mark IS NOT NULL AND current_setting('server_version_num')::int >= 170000
           THEN set_config('transaction_timeout', %(limit)s, false)
       END
FROM current_setting('{_MARK}', true) AS mark
"""


@dataclass(kw_only=True)
class Family:
    """What the sessions of one engine have in common."""

    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """libpq's."""
    settings: str = ""
    """JSON; applied in each transaction. Empty: they were sent with the connection."""
    transaction_limit: str = f"{STATEMENT_SECONDS}s"
    answer_seconds: float = STATEMENT_SECONDS + SILENCE_SECONDS
    replaced_at: float = 0.0
    """By `time.monotonic()`: sessions that were opened before are replaced."""


class Session(psycopg.Connection[TupleRow]):
    """psycopg's connection; it gives up on a server that hangs."""

    family = Family()
    opened_at = 0.0
    waits_for_ever = False
    patience: float | None = None
    """Seconds to wait for an answer, in place of the family's."""

    @classmethod
    def open(cls, family: Family) -> Self:
        """Connect. Raises what psycopg raises, and SettingsDropped."""
        threshold = None if family.settings else PREPARE_THRESHOLD
        session = cls.connect(**family.parameters, prepare_threshold=threshold)
        session.family, session.opened_at = family, time.monotonic()
        if not family.settings:
            _check_settings(session)
        return session

    @property
    def is_stale(self) -> bool:
        """Whether it was opened before a failover."""
        return self.opened_at <= self.family.replaced_at

    @property
    def has_ended(self) -> bool:
        """Whether the server has ended it: only then does an idle session have something to read.

        No round trip.
        """
        if self.closed:
            return True
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def apply_settings(self) -> None:
        """Begin a transaction with the settings, if they could not be sent with the connection."""
        if self.family.settings:
            with self.pipeline():  # in one round trip with BEGIN
                self.execute(SET_LOCALLY, {"settings": self.family.settings})

    def is_lost(self, error: BaseException) -> bool:
        """Whether an error leaves this session unusable.

        After an error that shows that it is useless, all that were opened before are stale.
        """
        if is_useless_session(error):
            self.family.replaced_at = time.monotonic()
            return True
        within_statement = self.info.transaction_status is TransactionStatus.ACTIVE  # as of Ctrl-C
        return self.closed or self.broken or within_statement or is_away(error)

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for the server. Raises NoAnswer, and closes, if it does not answer in time."""
        if timeout is not None or self.waits_for_ever:
            return super().wait(gen, interval, timeout)
        limit = self.patience or self.family.answer_seconds
        try:
            return super().wait(gen, interval, limit)
        except errors._WaitTimeout:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - it has no public name
            self.pgconn.finish()
            raise NoAnswer(f"no answer for {limit:g} s") from None


def connect(
    database_url: str,
    *,
    platform_schema: str = "public",
    pool_size: int = 5,
    overflow: int = 10,
    through_pooler: bool = False,
    writes: bool = True,
    statement_seconds: float = STATEMENT_SECONDS,
) -> Engine:
    """Create an engine. Its sessions have `platform_schema` in their search path.

    `database_url` is libpq's (several hosts are allowed) or SQLAlchemy's; its parameters override
    ours, and its `options` are added to ours. No connection is opened yet. `through_pooler`:
    nothing is kept in a session, because each transaction may run in another one. `writes`: a
    read-only server is refused. `overflow`: connections that may be opened above `pool_size`, and
    are closed after their use. `statement_seconds` limits a statement and, from PostgreSQL 17 on,
    a transaction.

    Raises psycopg.ProgrammingError if the URL is not valid.
    """
    given = read_url(database_url)
    settings = {"search_path": f"{platform_schema},public", **_SETTINGS}
    settings["statement_timeout"] = f"{statement_seconds:g}s"
    parameters = _to_parameters(given, {} if through_pooler else settings, writes=writes)
    if through_pooler:
        settings["transaction_timeout"] = settings["statement_timeout"]
    family = Family(
        parameters=parameters,
        settings=to_json(settings).decode() if through_pooler else "",
        transaction_limit=settings["statement_timeout"],
        answer_seconds=statement_seconds + SILENCE_SECONDS,
    )
    engine = create_engine(
        _to_url(given),
        creator=lambda: Session.open(family),
        execution_options={_FAMILY: family},
        pool_size=pool_size,
        max_overflow=overflow,
        pool_use_lifo=True,  # the sessions in use are few, with their prepared statements
        pool_timeout=CONNECT_SECONDS,
    )
    event.listen(engine, "checkout", _refuse_useless_session)
    event.listen(engine, "begin", _begin)
    return engine


def get_family(engine: Engine) -> Family:
    """Return what the sessions of an engine have in common."""
    return engine.get_execution_options()[_FAMILY]


def _to_parameters(
    given: dict[str, Any], settings: dict[str, str], *, writes: bool
) -> dict[str, Any]:
    """Return libpq's parameters. `settings` go with the connection; none: through a pooler."""
    ours: dict[str, Any] = {**_KEEPALIVES}
    if writes:
        ours["target_session_attrs"] = "read-write"
    if not settings:
        return ours | given
    options = [f"-c {name}={value}" for name, value in (settings | {_MARK: "true"}).items()]
    return ours | given | {"options": " ".join([*options, given.get("options", "")])}


@contextmanager
def transaction(engine: Engine) -> Generator[Connection]:
    """Run the block in one transaction: commit at the end, roll back on any error.

    Yields psycopg's connection: the statements are SQL and use psycopg's pipeline mode. SQLAlchemy
    provides only the pool. After an error that shows that a session is useless, all that were
    opened before are replaced.
    """
    pooled = engine.raw_connection()
    session = cast("Session", pooled.driver_connection)
    try:
        session.apply_settings()
        yield session
        session.commit()
    except BaseException as error:
        if session.is_lost(error):
            pooled.invalidate()
        else:
            pooled.rollback()
        raise
    finally:
        pooled.close()


@contextmanager
def brief_transaction(engine: Engine) -> Generator[Connection]:
    """Run the block in a transaction of which each statement takes two seconds at most.

    It waits one second for a lock, and three for a server that does not answer: for checks, whose
    caller waits for several of them.
    """
    with transaction(engine) as tx:
        session = cast("Session", tx)
        session.patience = BRIEF_SECONDS + 1
        try:
            limits = {"statement_timeout": f"{BRIEF_SECONDS}s", "lock_timeout": "1s"}
            tx.execute(SET_LOCALLY, {"settings": to_json(limits).decode()})
            yield tx
        finally:
            session.patience = None


def lift_limits(tx: Connection) -> None:
    """Lift every time limit of this transaction."""
    limits = ["idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout"]
    settings = dict.fromkeys([*limits, "transaction_timeout"], "0")
    tx.execute(SET_LOCALLY, {"settings": to_json(settings).decode()})


@contextmanager
def no_limits(connection: SqlalchemyConnection) -> Generator[None]:
    """Lift every time limit of a transaction while the block, a migration, runs."""
    session: Any = connection.connection.driver_connection
    lift_limits(session)
    session.waits_for_ever = True
    try:
        yield
    finally:
        session.waits_for_ever = False


def is_through_pooler(connection: Connection) -> bool:
    """Whether nothing may be kept in the session."""
    return isinstance(connection, Session) and bool(connection.family.settings)


def commit(tx: Connection) -> None:
    """Commit as a statement of the pipeline, so that it needs no round trip of its own.

    psycopg's own `commit` would read before everything is sent.
    """
    tx.execute("COMMIT", prepare=False)


def wait_briefly(tx: Connection, seconds: float = 2) -> None:
    """Limit lock waits of this transaction; after that LockNotAvailable is raised."""
    tx.execute("SELECT set_config('lock_timeout', %(limit)s, true)", {"limit": f"{seconds:g}s"})


def limit_statements(tx: Connection, seconds: float) -> None:
    """Limit each further statement of this transaction; after that QueryCanceled is raised."""
    tx.execute(
        "SELECT set_config('statement_timeout', %(limit)s, true)", {"limit": f"{seconds:g}s"}
    )


def forget_plans(tx: Connection) -> None:
    """Let the server plan the session's statements again: it keeps plans while tables grow."""
    tx.execute("DISCARD PLANS")


def to_array(ids: Iterable[int | UUID]) -> str:
    """Format ids as a Postgres array. Much faster than the driver's adaptation of a list."""
    return "{" + ",".join(map(str, ids)) + "}"


def _check_settings(session: Session) -> None:
    """Raise SettingsDropped if something between the server and us drops the settings."""
    row = session.execute(OPEN, {"limit": session.family.transaction_limit}).fetchone()
    session.commit()
    if not row or not row[0]:
        session.close()
        raise SettingsDropped("a connection pooler drops the settings of sessions")


def _begin(connection: SqlalchemyConnection) -> None:
    cast("Session", connection.connection.driver_connection).apply_settings()


def _refuse_useless_session(session: Session, *_: object) -> None:
    """Have the pool replace a session that was opened before a failover, or has ended.

    A ping would cost a round trip, and another wait for a server that does not answer.
    """
    if session.is_stale or session.has_ended:
        raise DisconnectionError


def _to_url(given: Mapping[str, Any]) -> URL:
    """The engine's URL, for people: connections are opened with libpq's parameters."""
    named = {"user": "username", "password": "password", "dbname": "database"}
    return URL.create(
        "postgresql+psycopg",
        **{named[name]: value for name, value in given.items() if name in named},
        query={name: value for name, value in given.items() if name not in named},
    )
