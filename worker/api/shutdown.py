"""Learn early that the server will stop, so that open streams can be ended properly.

An ASGI server first waits for its open requests, and then ends the lifespan. A stream that waited
for the end of the lifespan would be cut off when the server's grace period is over.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SHUTDOWN_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def call_on_shutdown(callback: Callable[[], None]) -> Generator[None]:
    """While the block runs, call `callback` on this event loop when a signal stops the server.

    The server's own signal handler runs as well. Only the main thread receives signals; in any
    other thread this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    previous: dict[signal.Signals, Any] = {n: signal.getsignal(n) for n in SHUTDOWN_SIGNALS}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(callback)
        servers_own = previous[signal.Signals(number)]
        if callable(servers_own):
            servers_own(number, frame)

    for number in SHUTDOWN_SIGNALS:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in previous.items():
            if signal.getsignal(number) is handle:
                signal.signal(number, handler)
