"""What URLs of servers have in common: their parameters, and TLS that checks certificates."""

import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

CERT_REQS = {
    "required": ssl.CERT_REQUIRED,
    "optional": ssl.CERT_OPTIONAL,
    "none": ssl.CERT_NONE,
}
"""Values of `ssl_cert_reqs`; Python's own names (`CERT_NONE`) mean the same."""
BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
TLS_PARAMETERS = (
    "ssl_cert_reqs",
    "ssl_check_hostname",
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_ciphers",
)


class InvalidUrl(ValueError):
    """A URL cannot be used; the text says why, and has no password."""


@dataclass(frozen=True, kw_only=True)
class Tls:
    """How to check a server, and how to prove who we are."""

    cert_reqs: str = "required"
    check_hostname: bool = True
    files: dict[str, str] = field(default_factory=dict[str, str])
    """`ca_certs`, `certfile`, `keyfile`, and `ciphers`."""

    def to_redis(self) -> dict[str, Any]:
        """The keyword arguments of redis-py, which Kombu's Redis transport passes on."""
        return {
            "ssl_cert_reqs": self.cert_reqs,
            "ssl_check_hostname": self.check_hostname,
            **{f"ssl_{name}": value for name, value in self.files.items()},
        }

    def to_amqp(self) -> dict[str, Any]:
        """py-amqp's; `BrokerConnection` replaces a `server_hostname` by the broker's name."""
        checks_name = self.check_hostname and self.cert_reqs != "none"
        named = {"server_hostname": None} if checks_name else {}
        return {"cert_reqs": CERT_REQS[self.cert_reqs], **named, **self.files}

    def check_files(self) -> None:
        """Raise InvalidUrl unless the files exist and are certificates and keys."""
        ca_certs, certfile = self.files.get("ca_certs"), self.files.get("certfile")
        try:
            context = ssl.create_default_context(cafile=ca_certs)
            if certfile:
                context.load_cert_chain(certfile, self.files.get("keyfile"))
        except OSError as error:  # an ssl.SSLError is one
            names = " and ".join(filter(None, (ca_certs, certfile)))
            raise InvalidUrl(f"{names} cannot be read as certificates: {error}") from error


def split_parameters(url: str) -> tuple[str, dict[str, str]]:
    """Return a URL without its parameters, and them. Raises InvalidUrl."""
    if any(character.isspace() for character in url):
        raise InvalidUrl("it has a space or the end of a line in it")
    base, _, query = url.partition("?")
    if "#" in url or "@" in query:
        raise InvalidUrl("a `#`, `?`, `/` or `@` in a password must be percent-encoded")
    pairs = parse_qsl(query, keep_blank_values=True)
    if len(dict(pairs)) < len(pairs):
        raise InvalidUrl("a parameter is there twice")
    return base, dict(pairs)


def take_tls(parameters: dict[str, str]) -> Tls:
    """Take the parameters of TLS out of `parameters`. Raises InvalidUrl."""
    found = {name: parameters.pop(name) for name in TLS_PARAMETERS if name in parameters}
    cert_reqs = found.pop("ssl_cert_reqs", "required").lower().removeprefix("cert_")
    if cert_reqs not in CERT_REQS:
        raise InvalidUrl("ssl_cert_reqs must be required, optional or none")
    check_hostname = to_boolean("ssl_check_hostname", found.pop("ssl_check_hostname", "true"))
    tls = Tls(
        cert_reqs=cert_reqs,
        check_hostname=check_hostname,
        files={name.removeprefix("ssl_"): value for name, value in found.items()},
    )
    tls.check_files()
    return tls


def to_boolean(name: str, value: str) -> bool:
    """Raises InvalidUrl."""
    if value.lower() not in BOOLEANS:
        raise InvalidUrl(f"{name} must be true or false")
    return BOOLEANS[value.lower()]


def refuse_unknown(parameters: dict[str, str], known: tuple[str, ...]) -> None:
    """Raise InvalidUrl if a parameter is not among the known ones."""
    for name in parameters:
        if name in TLS_PARAMETERS:
            raise InvalidUrl(f"{name} needs TLS: use the scheme with an s, such as rediss or amqps")
        if name not in known:
            raise InvalidUrl(f"it has no parameter {name!a}: there are {', '.join(known)}")
