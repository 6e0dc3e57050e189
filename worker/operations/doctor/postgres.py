"""Findings on the PostgreSQL server: version, role, durability, clock, encryption, trigger."""

from collections.abc import Iterator

from sqlalchemy import Engine

from db.commands import due_times
from db.server_facts import PostgresFacts, read_facts
from db.session import brief_transaction
from worker.operations.doctor.clocks import assess_skew, measure_skew
from worker.operations.doctor.findings import Finding, error, ok, warning
from worker.operations.doctor.links import assess_link, read_database_link

OLDEST = 15
NO_TRIGGER = (
    "No trigger on the table video: the end of a generation is noticed within a minute, not at "
    "once."
)
MAKE_TRIGGER = (
    "Let the owner of the table make it: docs/adopting.md has the statement; where the platform's "
    "tables are ours, run `publish-worker migrate --with-platform`."
)


def examine_postgres(engine: Engine, url: str) -> list[Finding]:
    """Return the findings. Raises DATABASE_ERRORS."""
    with brief_transaction(engine) as tx:
        skew, (facts, has_trigger) = measure_skew(
            lambda: (
                (found := read_facts(tx)).clock,
                (found, due_times.has_generation_trigger(tx)),
            )
        )
    return [
        *assess_postgres(facts),
        assess_trigger(has_trigger=has_trigger),
        assess_skew("PostgreSQL", skew),
        assess_link(read_database_link(url, is_encrypted=facts.is_encrypted)),
    ]


def assess_postgres(facts: PostgresFacts) -> Iterator[Finding]:
    """Yield the findings on these facts."""
    name = "postgres"
    if facts.major < OLDEST:
        detail = f"PostgreSQL {facts.version} is too old."
        yield error(name, detail, f"Upgrade the server to PostgreSQL {OLDEST} or newer.")
    elif not facts.is_durable:
        detail = f"PostgreSQL {facts.version} confirms commits that are not on the disk yet."
        yield warning(name, detail, "Set fsync and synchronous_commit to on.")
    else:
        yield ok(name, f"PostgreSQL {facts.version}, as role {facts.role}.")


def assess_trigger(*, has_trigger: bool) -> Finding:
    """Return the finding on the trigger on the platform's videos."""
    if has_trigger:
        return ok("trigger", "The end of a generation makes waiting commands due at once.")
    return warning("trigger", NO_TRIGGER, MAKE_TRIGGER)
