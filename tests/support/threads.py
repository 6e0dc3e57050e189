"""Several threads at once."""

import threading
from collections.abc import Callable


def together(times: int, action: Callable[[], object]) -> None:
    """Run an action in several threads at once."""
    barrier = threading.Barrier(times)

    def begin() -> None:
        barrier.wait()
        action()

    threads = [threading.Thread(target=begin) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
