"""A check: one part of the path, whether it works, and what to do if it does not."""

from dataclasses import dataclass, replace

from worker.runtime.explanations import Explanation

ASK_STATUS = "`publish-worker status` shows the cause, and what to do."


@dataclass(frozen=True, kw_only=True)
class Check:
    """One part of the path: whether it works, what was seen, and what to do."""

    name: str
    ok: bool
    detail: str
    """For the operator: it may have names of hosts, roles and tables."""
    remedy: str = ""
    """What to do; empty if it works."""
    error: str | None = None
    """What the part answered, for the operator alone."""
    public: str | None = None
    """What callers without a key see in place of detail and remedy. None: they see both."""
    is_away: bool = False
    """Whether it is unreachable, so that nothing else asks it."""

    @property
    def public_detail(self) -> str:
        """What was seen, without names of hosts and roles."""
        return self.detail if self.public is None else self.public

    @property
    def public_remedy(self) -> str:
        """What to do, without such names."""
        return self.remedy if self.public is None else ASK_STATUS

    def to_public(self) -> "Check":
        """Return the check as callers of one workspace see it."""
        return replace(self, detail=self.public_detail, remedy=self.public_remedy, error=None)


def to_failed(name: str, why: Explanation, answer: str, *, is_away: bool = False) -> Check:
    """Return the failed check of a part that answered with an error, or did not answer."""
    return Check(
        name=name,
        ok=False,
        detail=why.detail,
        remedy=why.remedy,
        error=answer,
        public=why.public,
        is_away=is_away,
    )
