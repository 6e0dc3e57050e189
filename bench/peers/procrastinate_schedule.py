# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false
# The package is in the extra `bench`, not in the development lock.
"""The peer Procrastinate: jobs with `schedule_at`, and workers that run the textbook's function.

    procrastinate --app bench.peers.procrastinate_schedule.app worker

A worker is notified of new jobs (LISTEN), but not of one whose time has come: for those it polls,
every five seconds by default.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime

from procrastinate import App, PsycopgConnector, SyncPsycopgConnector

from bench.peers import textbook

app = App(connector=PsycopgConnector(conninfo=os.environ.get("DATABASE_URL", "")))


@app.task(name="publish_video")
def publish_video(video_id: int) -> None:
    """Publish one video, as the textbook worker does."""
    textbook.publish_video.run(video_id)


def create_tables(database_url: str) -> None:
    """Create Procrastinate's tables."""
    with app.replace_connector(SyncPsycopgConnector(conninfo=database_url)) as producer:
        producer.open()
        producer.schema_manager.apply_schema()
        producer.close()


def schedule_all(database_url: str, jobs: Sequence[tuple[int, float]]) -> None:
    """Defer one job for each video; times in seconds since 1970."""
    with app.replace_connector(SyncPsycopgConnector(conninfo=database_url)) as producer:
        producer.open()
        for video_id, due in jobs:
            moment = datetime.fromtimestamp(due, UTC)
            producer.configure_task("publish_video", schedule_at=moment).defer(video_id=video_id)
        producer.close()
