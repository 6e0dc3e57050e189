"""The HTTP doors: each route translates, calls one function, answers. `worker.api:app` is ASGI."""

from worker.api.application import create_app

app = create_app()
