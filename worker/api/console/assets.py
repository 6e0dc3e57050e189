"""Static files of the console: served from the package, kept by browsers until they change."""

from fastapi import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope


class Assets(StaticFiles):
    """The folder `static`. Each address contains a digest of the content."""

    def __init__(self) -> None:
        super().__init__(packages=[("worker.api.console", "static")])

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with a file."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response
