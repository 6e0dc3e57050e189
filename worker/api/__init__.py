"""The HTTP door: each route parses, calls one function, answers. `worker.api:app` is ASGI."""

from worker.api.application import create_app

app = create_app()
