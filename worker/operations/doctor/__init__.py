"""Doctor: look at everything around the worker side by side, and say what to do.

`examine` returns findings: the checks of `status`, and what `status` need not ask each time. Each
module has the findings on one thing, of which the `assess_…` are pure.
"""

from worker.operations.doctor.examination import examine
from worker.operations.doctor.findings import Finding, Level

__all__ = ["Finding", "Level", "examine"]
