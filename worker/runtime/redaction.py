"""Secrets in log lines: replaced in every line of every logger, ours or a library's.

Each pattern is linear: what it repeats is limited in length, or ends at the first other character.
"""

import re
from typing import Any

HIDDEN = "***"

_QUOTE = r"""\\{0,2}["']?"""
_SECRETS = re.compile(
    rf"""
    (?P<before>
        \b(?:proxy-)?authorization\b {_QUOTE} \s{{0,3}} [:=,] \s{{0,3}} b?{_QUOTE}
            (?: [a-z]{{1,20}} [ ]{{1,3}} )?                         # Bearer, Basic
      | \bbearer [ ]{{1,3}} (?=[^\s]{{12}})
      | \b(?:access_token|id_token|refresh_token|code_verifier|client_secret|password|passwd|pwd
            |secret|api[_-]?key|cookie)
            {_QUOTE} \s{{0,3}} [:=] \s{{0,3}} b?{_QUOTE}
    )
    (?: (?<=["']) [^"'\\\n]{{1,4096}} | [^\s"',;&(){{}}\[\]\\]{{1,4096}} )
  | (?P<url> ://[^\s:/@"'<>]{{0,100}}: ) [^\s"'<>]{{1,200}} (?=@)
  | (?P<feed> /calendar/ ) [a-z0-9_-]{{20,4096}}           # the address of an iCal feed
  | \b(?P<kind> pw_|whsec_ ) [a-z0-9_+/=-]{{8,4096}}
    """,
    re.IGNORECASE | re.VERBOSE,
)

_SIGNS = (
    "auth",
    "bearer",
    "token",
    "pass",
    "pwd",
    "sec",
    "verif",
    "key",
    "cookie",
    "://",
    "pw_",
    "/cal",
)
"""A text without any of these has no secret. The look for them costs a tenth of the pattern."""


def redact(text: str) -> str:
    """The text with `***` in place of API keys, passwords and webhook secrets."""
    lowered = text.lower()
    return _SECRETS.sub(_hide, text) if any(sign in lowered for sign in _SIGNS) else text


def redact_line(_logger: object, _method: str, line: Any) -> Any:
    """As structlog's last processor: redact a rendered line."""
    return redact(line) if isinstance(line, str) else line


def _hide(found: re.Match[str]) -> str:
    kept = found["before"] or found["url"] or found["feed"] or found["kind"] or ""
    return f"{kept}{HIDDEN}"
