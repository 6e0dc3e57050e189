"""The base of every error of ours whose text is written for the person; it imports no driver."""


class ExplainedError(Exception):
    """An error whose text says what is wrong and what to do; it may have several lines."""
