"""What a person of the identity provider may do: the first rule with one of the person's groups."""

from collections.abc import Collection, Sequence

from schemas.values.access import AccessPolicy, AccessRule


def find_rule(rules: Sequence[AccessRule], groups: Collection[str]) -> AccessRule | None:
    """Return the first rule that names one of the groups. None: the person has no access."""
    return next((rule for rule in rules if rule.group in groups), None)


def find_known_groups(rules: Sequence[AccessRule], groups: Collection[str]) -> list[str]:
    """Return the groups that a rule names, once each: a session stores no other ones."""
    return sorted({rule.group for rule in rules}.intersection(groups))


def find_access(
    policy: AccessPolicy, issuer: str | None, groups: Collection[str]
) -> AccessRule | None:
    """Return the rule for a session of a person; None: its rule or its provider was taken away."""
    return find_rule(policy.rules, groups) if issuer and issuer == policy.issuer else None
