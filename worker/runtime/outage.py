"""Outages in the log of our processes: see publish_worker_client.servers.outage."""

from typing import Any

import structlog

from publish_worker_client.servers.outage import OutageLog

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class Outage(OutageLog):
    """The outage of what one part of a process needs; it begins with the first error.

    `begin` and `end` are the log events; `known` is in each log line.
    """

    def __init__(self, begin: str, end: str, **known: Any) -> None:
        super().__init__(
            lambda error: log.warning(begin, **known, error=error),
            lambda: log.info(end, **known),
        )
