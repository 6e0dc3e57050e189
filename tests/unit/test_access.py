"""Rules of access: which of a person's groups decides."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.values.access import AccessPolicy, AccessRule
from schemas.values.caller import Scope
from worker.api.oidc.id_token import read_groups, read_name
from worker.rules.access import find_access, find_known_groups, find_rule

ISSUER = "https://login.example"
SCOPES = st.sampled_from([Scope.READ, Scope.PUBLISH, Scope.ADMIN])
GROUPS = st.sampled_from(["a", "b", "c", "A", "ab"])
RULES = st.lists(
    st.builds(
        AccessRule,
        group=GROUPS,
        scope=SCOPES,
        workspace_id=st.none() | st.integers(min_value=1, max_value=3),
    )
)
OPERATORS = AccessRule(group="operators", scope=Scope.ADMIN, workspace_id=None)
EDITORS = AccessRule(group="editors", scope=Scope.PUBLISH, workspace_id=1)


def test_the_first_rule_with_a_group_of_the_person_decides() -> None:
    groups = {"editors", "operators"}
    assert find_rule([OPERATORS, EDITORS], groups) == OPERATORS
    assert find_rule([EDITORS, OPERATORS], groups) == EDITORS


def test_groups_are_compared_exactly() -> None:
    assert find_rule([EDITORS], {"Editors", "editor", "editors ", ""}) is None


def test_a_session_of_another_provider_or_of_none_has_no_access() -> None:
    policy = AccessPolicy(issuer=ISSUER, rules=(EDITORS,))
    assert find_access(policy, ISSUER, ["editors"]) == EDITORS
    for issuer in ("https://other.example", "", None):
        assert find_access(policy, issuer, ["editors"]) is None
    assert find_access(AccessPolicy(rules=(EDITORS,)), None, ["editors"]) is None


@given(rules=RULES, groups=st.sets(GROUPS))
def test_a_person_has_what_a_rule_of_its_own_groups_gives_or_nothing(
    rules: list[AccessRule], groups: set[str]
) -> None:
    found = find_rule(rules, groups)
    own = [rule for rule in rules if rule.group in groups]
    assert found == (own[0] if own else None)


@given(rules=RULES, groups=st.sets(GROUPS))
def test_the_groups_that_a_session_keeps_decide_as_all_groups_do(
    rules: list[AccessRule], groups: set[str]
) -> None:
    known = find_known_groups(rules, groups)
    assert find_rule(rules, known) == find_rule(rules, groups)


@given(rules=RULES, groups=st.sets(GROUPS), taken=st.integers(min_value=0, max_value=5))
def test_a_rule_that_is_taken_away_gives_nothing_that_no_other_rule_gives(
    rules: list[AccessRule], groups: set[str], taken: int
) -> None:
    known = find_known_groups(rules, groups)
    left = rules[:taken] + rules[taken + 1 :]
    found = find_rule(left, known)
    assert found is None or (found in left and found.group in groups)


def test_a_group_decides_however_many_groups_come_before_it() -> None:
    groups = [f"team-{n}" for n in range(5_000)] + ["operators"]
    assert find_rule([OPERATORS, EDITORS], read_groups({"groups": groups}, "groups")) == OPERATORS


def test_a_name_cannot_look_like_a_verified_address() -> None:
    claims = {"name": "Bob <ada@example.com>", "email": "b@example.com", "email_verified": False}
    assert "<" not in read_name(claims)
