"""Serve the API on a socket that whoever starts us has bound: nobody can take its port meanwhile.

For `publish-worker up` and `demo`; elsewhere it is `uvicorn worker.api:app`.
"""

import socket
import sys

import uvicorn

GRACE_SECONDS = 3
"""How long requests in hand may take at the end; streams that never end are cut off."""


def main() -> None:
    """Serve on the socket whose file descriptor is the only argument."""
    config = uvicorn.Config(
        "worker.api:app",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()
