"""What may go wrong with an embedded engine."""

from worker.runtime.explained_error import ExplainedError


class EngineError(ExplainedError):
    """An embedded engine could not be started; says what failed, what its log says, what to do."""


class EnginesAlreadyRunning(EngineError):
    """Another live process serves this directory; `running` gives its engines."""
