"""Start-up checks: whether settings are valid, and the database and Redis answer.

What checks Redis and the broker imports their clients: a command that needs only the database
starts in half the time without them.
"""

from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sqlalchemy import Engine

from db.database_url import InvalidDatabaseUrl, check_parameters
from db.errors import DATABASE_ERRORS, DatabaseUnavailable, NotMigrated, OtherVersion
from db.platform_schema import check_platform_schema
from db.revision import NEEDED, read_revision
from db.session import transaction
from publish_worker_client.servers.server_urls import InvalidUrl
from worker.runtime.errors_explained import RedisUnavailable, explain_database_error
from worker.runtime.explanations import NEWER, NOT_MIGRATED
from worker.runtime.settings import OutletName, Settings, SettingsError
from worker.runtime.tracing import find_exporters

if TYPE_CHECKING:
    from redis import Redis

LOOPBACK = ("localhost", "127.0.0.1", "::1")
ACCESS_EXAMPLE = (
    'set it to rules such as [{"group": "editors", "scope": "publish", "workspace_id": 1},'
    ' {"group": "operators", "scope": "admin", "workspace_id": null}].'
)
AMQP_EXAMPLE = "amqp://user:password@host:5672//"


def check_settings(settings: Settings) -> None:
    """Raise SettingsError unless the needed URLs are set and valid, and traces can be exported."""
    find_exporters()
    check_identity_provider(settings)
    check_database_url(settings)
    check_redis_url(settings)
    check_broker_url(settings)
    if OutletName.AMQP in settings.outlet_names():
        check_amqp_url(settings)


def check_database_url(settings: Settings) -> None:
    """Raise SettingsError unless DATABASE_URL is set and valid."""
    with _explained("DATABASE_URL", "postgresql://user:password@host:5432/database"):
        check_parameters(settings.database())


def check_redis_url(settings: Settings) -> None:
    """Raise SettingsError unless REDIS_URL is set and valid."""
    from publish_worker_client.servers.redis_url import read_redis_url  # noqa: PLC0415

    with _explained("REDIS_URL", "redis://default:password@host:6379/0"):
        read_redis_url(settings.redis()).open().close()  # connects to nothing yet


def check_broker_url(settings: Settings) -> None:
    """Raise SettingsError unless the broker's URL is set and valid."""
    from worker.runtime.broker_url import read_broker_url  # noqa: PLC0415

    name = "BROKER_URL" if settings.broker_url else "REDIS_URL"
    with _explained(name, "redis://default:password@host:6379/0"):
        read_broker_url(settings.broker()).connect({}).release()


def check_amqp_url(settings: Settings) -> None:
    """Raise SettingsError unless AMQP_URL is set and valid."""
    from worker.runtime.broker_url import read_amqp_url  # noqa: PLC0415

    if not settings.amqp_url:
        raise SettingsError(f"OUTLETS names amqp: set AMQP_URL to {AMQP_EXAMPLE}.")
    with _explained("AMQP_URL", AMQP_EXAMPLE):
        read_amqp_url(settings.amqp_url).connect({}).release()


def check_identity_provider(settings: Settings) -> None:
    """Raise SettingsError unless people can sign in with the identity provider, if one is set."""
    issuer = settings.oidc_issuer
    if issuer is None:
        if settings.oidc_client_id or settings.oidc_access:
            raise SettingsError("OIDC_ISSUER is not set: set it too, or no setting OIDC_*.")
        return
    url = urlsplit(issuer)
    if url.scheme != "https" and url.hostname not in LOOPBACK:
        raise SettingsError(f"OIDC_ISSUER={issuer} is not valid: an identity provider needs https.")
    if not settings.oidc_client_id:
        raise SettingsError("OIDC_CLIENT_ID is not set: set it to the client's id at OIDC_ISSUER.")
    if not settings.oidc_access:
        raise SettingsError(f"OIDC_ACCESS is not set, so no person could sign in: {ACCESS_EXAMPLE}")


def check_oidc_installed(settings: Settings) -> None:
    """Raise SettingsError if an identity provider is set, and what asks it is not installed."""
    if settings.oidc_issuer and not (find_spec("authlib") and find_spec("httpx2")):
        raise SettingsError("OIDC_ISSUER is set: install publish-worker[oidc], or do not set it.")


@contextmanager
def _explained(name: str, example: str) -> Generator[None]:
    try:
        yield
    except (InvalidUrl, InvalidDatabaseUrl) as error:
        raise SettingsError(f"{name} is not valid: {error}. It looks like {example}.") from None


def check_database(engine: Engine) -> None:
    """Check that the database answers, is up to date and has the platform's schema.

    Raises DatabaseUnavailable, WrongPlatformSchema, OtherVersion and NotMigrated.
    """
    try:
        with transaction(engine) as tx:
            check_platform_schema(tx)
        found = read_revision(engine)
    except DATABASE_ERRORS as error:
        raise DatabaseUnavailable(explain_database_error(error)) from error
    if found is not None and found > NEEDED:
        raise OtherVersion(NEWER.format(found=found, needed=NEEDED))
    if found != NEEDED:
        raise NotMigrated(NOT_MIGRATED)


def check_redis(redis: "Redis") -> None:
    """Raise RedisUnavailable unless Redis answers."""
    from redis.exceptions import RedisError  # noqa: PLC0415

    from worker.runtime.redis_explanations import explain_redis  # noqa: PLC0415

    try:
        redis.ping()
    except RedisError as error:
        raise RedisUnavailable(str(explain_redis(error))) from error
