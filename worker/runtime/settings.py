"""Settings: read from the environment alone, where a process starts, and passed on from there."""

import json
import re
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BeforeValidator,
    Field,
    SecretStr,
    StringConstraints,
    TypeAdapter,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from schemas.values.access import AccessPolicy, AccessRule

PREFIX = "PUBLISH_WORKER_"
"""Each setting is also read with this prefix, which wins: another program may own the bare name."""
SERVICE_ADDRESS = ("tcp://", "udp://", "sctp://")
"""How Kubernetes begins `<SERVICE>_PORT`, which it sets for each Service in every container."""


METRICS_ADDRESS = (
    r"^(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):"
    r"([1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])$"
)
"""`host:port`; an IPv6 address is in brackets."""


class LogFormat(StrEnum):
    """How log lines look."""

    CONSOLE = "console"
    JSON = "json"


_BASE_URL = re.compile(r"https?://[^\s?#@/\\][^\s?#@\\]*", re.IGNORECASE)
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class OutletName(StrEnum):
    """Where events can go."""

    STREAM = "stream"
    AMQP = "amqp"


def _check_base_url(text: str) -> str:
    """Reject a URL that no path can be added to."""
    try:
        TypeAdapter(AnyHttpUrl).validate_python(text)
    except ValueError:
        is_valid = False
    else:
        is_valid = _BASE_URL.fullmatch(text) is not None
    if not is_valid:
        raise ValueError("it must be an http or https URL, such as https://videos.example.com")
    return text


def _read_json(value: Any) -> Any:
    """Read a value that is written as JSON. Raises ValueError."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"it is not JSON ({error})") from None


class SettingsError(Exception):
    """A setting is missing or is not valid."""


class Settings(BaseSettings):
    """What an operator may set, by environment variables of the same names in capitals.

    No name ends as those do that Kubernetes sets for its Services (`_PORT`, `_SERVICE_HOST` …).
    """

    model_config = SettingsConfigDict(
        frozen=True,
        env_ignore_empty=True,
        use_attribute_docstrings=True,
        extra="ignore",
        str_strip_whitespace=True,  # a secret from a file often ends with a line feed
    )

    database_url: str | None = Field(default=None, repr=False)
    """PostgreSQL 15 or newer: `postgresql://user:password@host:5432/database`."""
    database_through_pooler: bool = False
    """Whether `DATABASE_URL` leads to a connection pooler that may give each transaction another
    session: PgBouncer, RDS Proxy, Supavisor, Neon's pooled host."""
    redis_url: str | None = Field(default=None, repr=False)
    """Redis 7 or Valkey 8 or newer, `redis://default:password@host:6379/0`: the stream, wake-up
    marks, the heartbeat."""
    broker_url: str | None = Field(default=None, repr=False)
    """Any Celery broker; `REDIS_URL` unless set."""
    outlets: Annotated[str, StringConstraints(pattern=r"^(stream|amqp)(,(stream|amqp))*$")] = (
        "stream"
    )
    """Where events go: `stream` (Redis), or `stream,amqp`."""
    amqp_url: str | None = Field(default=None, repr=False)
    """RabbitMQ, `amqp://user:password@host:5672//`, for the outlet `amqp`: a topic exchange
    `video.events`."""
    platform_schema: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]*$")] = "public"
    """The Postgres schema with the platform's tables, or with views on them."""
    public_base_url: Annotated[str, AfterValidator(_check_base_url)] = "http://localhost:8000"
    """The site that serves the video pages; the prefix of each `custom_url` and of our links."""
    publish_wait_seconds: Annotated[int, Field(ge=0, le=60)] = 0
    """How long the API waits for the end of a command if the caller does not send `Prefer: wait`:
    it answers with the Video, as the platform's API does; 0: it answers with the command."""
    media_base_url: Annotated[str, AfterValidator(_check_base_url)] | None = None
    """The prefix of files' paths, where the platform's rows have paths in place of URIs."""
    cors_origins: (
        Annotated[
            str, StringConstraints(pattern=r"^(\*|https?://[^/,\s*]+(,https?://[^/,\s*]+)*)$")
        ]
        | None
    ) = None
    """Origins whose web pages may call the API, separated by commas; `*` allows every one."""
    log_format: LogFormat = LogFormat.CONSOLE
    """How log lines look: for people, or as JSON; the image sets `json`."""
    log_level: Annotated[LogLevel, BeforeValidator(str.upper)] = "INFO"
    """The level of every logger."""
    data_dir: Path | None = None
    """Where the engines of `publish-worker up` and `demo` keep their data."""
    stream_keep_days: Annotated[float, Field(gt=0, le=36_500)] = 7
    """How long an event stays on the stream."""
    outbox_keep_days: Annotated[float, Field(gt=0, le=36_500)] = 30
    """How long an event stays in the outbox, from which a lost stream is rebuilt."""
    command_keep_days: Annotated[float, Field(gt=0, le=36_500)] = 30
    """How long a finished command, or an idempotency key, is kept."""
    audit_keep_days: Annotated[float, Field(ge=30, le=36_500)] = 400
    """How long an entry of the audit log is kept; at least 30 days."""
    canary_video_id: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    """A hidden video, in a workspace of its own, that is published and withdrawn in turn, once a
    minute, to see that scheduling works; where the platform's tables are ours, it has one."""
    metrics_listen: Annotated[str, StringConstraints(pattern=METRICS_ADDRESS)] | None = None
    """Where workers and beat serve metrics for Prometheus, `host:port`; the API has `/metrics`."""
    oidc_issuer: Annotated[str, AfterValidator(_check_base_url)] | None = None
    """The identity provider whose people may sign in to the console (OpenID Connect): its issuer
    URL. None: only API keys can sign in."""
    oidc_client_id: str | None = None
    """The client that the provider knows us by. Its redirect URI is
    `PUBLIC_BASE_URL/console/sign-in/oidc/callback`."""
    oidc_client_secret: SecretStr | None = None
    """The client's secret. None: a public client; PKCE is used with both."""
    oidc_scopes: Annotated[str, StringConstraints(pattern=r"^openid( [!#-\[\]-~]+)*$")] = (
        "openid profile email"
    )
    """What is asked of the provider; some give the groups only for a scope of their own."""
    oidc_groups_claim: Annotated[str, StringConstraints(min_length=1)] = "groups"
    """The claim with a person's groups: a list of texts, or one text."""
    oidc_access: Annotated[tuple[AccessRule, ...] | None, NoDecode, BeforeValidator(_read_json)] = (
        None
    )
    """Who may do what, a JSON list of `{"group", "scope", "workspace_id"}`: the first rule with one
    of the person's groups decides; a person without one is refused. `workspace_id`: null is every
    workspace."""
    webhooks_allow_private: bool = False
    """Whether webhooks may go to private addresses, and without TLS: for development."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - not read
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments, then environment variables with the prefix, then those without."""
        prefixed = EnvSettingsSource(settings_cls, env_prefix=PREFIX)
        return init_settings, prefixed, env_settings

    def database(self) -> str:
        """`DATABASE_URL`, or a clear error."""
        return _required(self.database_url, "DATABASE_URL", self._explain_missing("REDIS_URL"))

    def redis(self) -> str:
        """`REDIS_URL`, or a clear error."""
        return _required(self.redis_url, "REDIS_URL", self._explain_missing("DATABASE_URL"))

    def _explain_missing(self, other: str) -> str:
        """Say what to do if one of the two URLs is missing, where the other one may be set."""
        if getattr(self, other.lower()):
            return (
                f"Set it too: because {other} is set, the engines of a running `publish-worker up` "
                "are not used. Set both URLs, or neither."
            )
        return "Set it, or start with `publish-worker up`."

    def broker(self) -> str:
        """`BROKER_URL`, or else `REDIS_URL`, or a clear error."""
        return self.broker_url or self.redis()

    def outlet_names(self) -> list[OutletName]:
        """Where events go, each once."""
        return [OutletName(name) for name in dict.fromkeys(self.outlets.split(","))]

    def allowed_origins(self) -> list[str]:
        """The origins in `CORS_ORIGINS`."""
        return self.cors_origins.split(",") if self.cors_origins else []

    def amqp(self) -> str:
        """`AMQP_URL`, or a clear error."""
        return _required(self.amqp_url, "AMQP_URL", "Set it, or leave amqp out of OUTLETS.")

    def outlet_amqp_url(self) -> str | None:
        """`AMQP_URL` if the outlet `amqp` is on."""
        return self.amqp() if OutletName.AMQP in self.outlet_names() else None

    def access_policy(self) -> AccessPolicy:
        """Whose sessions at the console are valid, and what they may do."""
        return AccessPolicy(issuer=self.oidc_issuer, rules=self.oidc_access or ())

    def stream_age(self) -> timedelta:
        """How long an event stays on the stream."""
        return timedelta(days=self.stream_keep_days)


class UpSettings(Settings):
    """The settings of `publish-worker up`, which alone listens by itself."""

    api_host: str = "127.0.0.1"
    """Where `publish-worker up` listens; uvicorn has `--host`."""
    api_port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """The port of `publish-worker up`; uvicorn has `--port`."""

    @model_validator(mode="before")
    @classmethod
    def _ignore_services(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Leave out an address that Kubernetes set for a Service called `api`."""
        port = str(values.get("api_port", ""))
        if port.startswith(SERVICE_ADDRESS):
            return {name: value for name, value in values.items() if name != "api_port"}
        return values


def _required(value: str | None, name: str, advice: str) -> str:
    if not value:
        raise SettingsError(f"{name} is not set. {advice}")
    return value
