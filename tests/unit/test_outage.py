"""One line in the log for each cause of an outage, whichever thread meets it."""

import sys
import threading

from publish_worker_client.servers.outage import OutageLog


def test_threads_that_meet_one_cause_at_once_log_it_once() -> None:
    logged: list[str] = []
    ended: list[None] = []
    outage = OutageLog(logged.append, lambda: ended.append(None))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(300):
            start = threading.Barrier(4)

            def meet(start: threading.Barrier = start) -> None:
                start.wait()
                outage.note(OSError("refused"))

            threads = [threading.Thread(target=meet) for _ in range(4)]
            for each in threads:
                each.start()
            for each in threads:
                each.join()
            assert outage.has_begun
            outage.end()
    finally:
        sys.setswitchinterval(interval)
    assert logged == ["refused"] * 300
    assert len(ended) == 300
