# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false
# The package is in the extra `bench`, not in the development lock.
"""The peer APScheduler 3: one scheduler process, jobs in PostgreSQL, two processes that run them.

    python -m bench.peers.apscheduler_dates < jobs.json

The jobs are pairs of a video's id and the time it is due, in seconds since 1970.

Written as its docs advise: a persistent job store, a process pool, and no limit on how late a job
may start, because by default a job that is a second late is dropped. Jobs can only be added in the
scheduler's own process. Each job runs the textbook worker's function (bench/peers/textbook.py).
"""

import json
import os
import sys
from datetime import UTC, datetime
from threading import Event

from apscheduler.executors.pool import ProcessPoolExecutor
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler

from bench.peers import textbook

PROCESSES = 2


def publish(video_id: int) -> None:
    """Publish one video, as the textbook worker does."""
    textbook.publish_video.run(video_id)


def main() -> None:
    """Add the jobs, say so, and run them until this process is ended."""
    url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")
    scheduler = BackgroundScheduler(
        jobstores={"default": SQLAlchemyJobStore(url=url)},
        executors={"default": ProcessPoolExecutor(PROCESSES)},
        job_defaults={"misfire_grace_time": None},
        timezone=UTC,
    )
    scheduler.start(paused=True)
    for video_id, due in json.load(sys.stdin):
        moment = datetime.fromtimestamp(due, UTC)
        scheduler.add_job(publish, "date", run_date=moment, args=(video_id,))
    scheduler.resume()
    print("added", flush=True)
    Event().wait()


if __name__ == "__main__":
    main()
