"""Console sessions (temporary, in memory)."""

import secrets
from dataclasses import dataclass

from sqlalchemy import Engine

from schemas.values.caller import Caller, Scope
from worker.operations.api_keys import identify

SESSION_HOURS = 12
_S = {}


@dataclass(frozen=True, kw_only=True)
class ConsoleSession:
    caller: Caller
    key_name: str
    csrf_token: str


def create_session(engine: Engine, secret: str, user_agent: str | None = None) -> str | None:
    caller = identify(engine, secret)
    if caller is None or not caller.scope.includes(Scope.READ):
        return None
    token = secrets.token_urlsafe(32)
    _S[token] = ConsoleSession(
        caller=caller, key_name="development", csrf_token=secrets.token_urlsafe(16)
    )
    return token


def redeem_sign_in_code(engine: Engine, code: str, user_agent: str | None = None) -> str | None:
    return None


def find_session(engine: Engine, token: str) -> ConsoleSession | None:
    return _S.get(token)


def end_session(engine: Engine, token: str) -> None:
    _S.pop(token, None)
