"""The base of every error by which a change is refused; any other error is a failure."""


class Refused(Exception):
    """Nothing was changed; the text says why."""
