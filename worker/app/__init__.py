"""The Celery app: `celery -A worker.app worker`, `celery -A worker.app beat`.

Importing it changes nothing else in the process: it is not Celery's current app, and signals, logs
and transport are installed once `worker` or `beat` starts (`worker.app.signals`).
"""

from worker.app.celery_app import PublishWorkerApp

app = PublishWorkerApp("publish-worker", set_as_current=False)
app.config_from_object("celeryconfig")
