"""A contender's producer, in a process of its own: its CPU time and memory are its own, too.

`python -m bench.producer NAME`: makes the tables, prints `{}`, and then, for each line of standard
input (a JSON list of video ids), sends them and prints the CPU seconds that this took.
"""

import json
import sys
import time
from typing import Any

from bench.contenders import CONTENDERS
from worker.runtime import logs
from worker.runtime.settings import LogFormat


def main() -> None:
    """Serve the lines of standard input."""
    logs.configure(LogFormat.JSON, "WARNING")
    contender = CONTENDERS[sys.argv[1]].load()
    contender.prepare()
    send = contender.open_sender()
    _answer({})
    for line in sys.stdin:
        video_ids = json.loads(line)
        started = time.process_time()
        send(video_ids)
        _answer({"cpu_seconds": time.process_time() - started})


def _answer(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
