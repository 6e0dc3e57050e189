"""Why a sign-in with the identity provider failed: a word for the log, and a text for the page."""

import re

_ERROR = re.compile(r"[a-z_]{1,60}")


class SignInFailed(Exception):
    """No session began. The text is for the person; `reason` is for the log, without secrets."""

    def __init__(self, reason: str, text: str, *, status: int = 401) -> None:
        super().__init__(text)
        self.reason = reason
        self.status = status


def to_unreachable(cause: BaseException) -> SignInFailed:
    """Return the refusal for a provider that does not answer, or answers with nonsense."""
    return SignInFailed(
        f"unreachable: {type(cause).__name__}",
        "The identity provider does not answer as it should. Try again in a minute, or sign in with"
        " an API key.",
        status=503,
    )


def to_invalid(reason: str) -> SignInFailed:
    """Return the refusal for an answer of the provider that is not valid."""
    return SignInFailed(
        reason,
        "The identity provider's answer is not valid, so it was not used. Begin again; if that does"
        " not help, ask those who run this console: its log says why.",
    )


def to_wrong_clock() -> SignInFailed:
    """Return the refusal for an answer that is not valid at this server's time."""
    return SignInFailed(
        "clock",
        "The identity provider's answer is not valid at this server's time. Begin again; if that"
        " does not help, the clock of this server or the provider's is wrong.",
    )


def to_refused(error: str) -> SignInFailed:
    """Return the refusal for the error that the provider sent the browser back with."""
    if error == "access_denied":
        text = "The identity provider did not let you in, or you cancelled the sign-in."
        return SignInFailed(error, text)
    reason = error if _ERROR.fullmatch(error) else "an error without a valid name"
    return SignInFailed(
        reason, f"The identity provider refused the sign-in: {reason}. Try again in a minute."
    )


def to_unknown_attempt() -> SignInFailed:
    """Return the refusal for a callback that does not belong to this browser, or comes twice."""
    return SignInFailed(
        "unknown-attempt",
        "This sign-in was not begun in this browser, was completed already, or took longer than ten"
        " minutes. Begin again.",
        status=400,
    )


def to_no_sign_out() -> SignInFailed:
    """Return the refusal for a log-out at a provider that offers none."""
    return SignInFailed(
        "no-sign-out",
        "You are logged out here. The identity provider has no page to log out there: close the"
        " browser, or log out at its own site.",
        status=404,
    )
