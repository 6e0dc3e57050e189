"""The roles of the processes that report that they are alive."""

from enum import StrEnum


class ProcessRole(StrEnum):
    """The kind of work that a process does."""

    WORKER = "worker"
    BEAT = "beat"
    API = "api"
