"""What people of the identity provider may do at the console: rules by their groups."""

from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints

from schemas.fields import INT64_MAX, Frozen
from schemas.values.caller import Scope

MAX_GROUP = 255
"""Characters of a group's name."""


def _check_scope(value: object) -> object:
    if value not in (Scope.READ, Scope.PUBLISH, Scope.ADMIN):
        raise ValueError("use read, publish or admin")
    return value


class AccessRule(Frozen):
    """What the people of one group may do."""

    group: Annotated[str, StringConstraints(min_length=1, max_length=MAX_GROUP)]
    """A value of the claim that `OIDC_GROUPS_CLAIM` names; compared exactly."""
    scope: Annotated[Scope, BeforeValidator(_check_scope)]
    workspace_id: Annotated[int, Field(ge=1, le=INT64_MAX)] | None
    """None: every workspace. It must be given: absence must not mean everything."""


class AccessPolicy(Frozen):
    """Whose sessions are valid, and what they may do."""

    issuer: str | None = None
    """The identity provider. None: people cannot sign in, only API keys can."""
    rules: tuple[AccessRule, ...] = ()
    """In order: the first one that matches decides."""


ONLY_KEYS = AccessPolicy()
"""No identity provider is configured."""
