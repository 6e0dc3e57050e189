"""The Celery app of another project. Its broker and result backend: FOREIGN_BROKER_URL."""

import os

from celery import Celery, shared_task

BROKER_URL = os.environ["FOREIGN_BROKER_URL"]

app = Celery("foreign", broker=BROKER_URL, backend=BROKER_URL)
app.conf.task_default_queue = "foreign"


@shared_task(name="foreign.double")
def double(number: int) -> int:
    """Return twice the number."""
    return 2 * number
