"""Notice that the server is about to stop, while there is time to say so to open streams.

An ASGI server first waits for its open requests, and then ends the lifespan: a stream that waits
for the latter would be cut off in mid-word when the server's patience ends.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ENDING = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def on_ending_signal(tell: Callable[[], None]) -> Generator[None]:
    """Call `tell` on this event loop as well when a signal asks the server to stop.

    Elsewhere than in the main thread there are no signals, and nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before: dict[signal.Signals, Any] = {number: signal.getsignal(number) for number in ENDING}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(tell)
        servers_own = before[signal.Signals(number)]
        if callable(servers_own):
            servers_own(number, frame)

    for number in ENDING:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is handle:
                signal.signal(number, handler)
