"""What a command says about an error that it does not handle itself; it imports the drivers."""

from worker.runtime.errors_explained import explain
from worker.runtime.printing import to_printable
from worker.runtime.refused import Refused


def explain_refusal(error: Exception) -> str | None:
    """Return why the request was refused, or what is wrong and what to do; None for a bug."""
    if isinstance(error, Refused):
        return to_printable(str(error))
    return explain(error)
