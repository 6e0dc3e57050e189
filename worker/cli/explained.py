"""What a command says about an error that it does not handle itself; it imports the drivers."""

from worker.cli.ids import IdRefused
from worker.runtime.errors_explained import explain
from worker.runtime.printing import to_printable, to_printable_lines
from worker.runtime.refused import Refused


def explain_refusal(error: Exception) -> str | None:
    """Return why the request was refused, or what is wrong and what to do; None for a bug."""
    if isinstance(error, IdRefused):
        return to_printable_lines(str(error))
    if isinstance(error, Refused):
        return to_printable(str(error))
    return explain(error)
