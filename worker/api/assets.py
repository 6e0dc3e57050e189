"""Static files of pages: served from the package, kept by browsers until they change."""

from hashlib import sha256
from importlib.resources import files

from fastapi import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope


class Assets(StaticFiles):
    """A package's folder `static`. Each address contains a digest of the content."""

    def __init__(self, package: str) -> None:
        super().__init__(packages=[(package, "static")])

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with a file."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def to_asset_url(package: str, path: str, name: str) -> str:
    """Return the URL of a package's static file below the path where they are mounted.

    It changes with the content: browsers keep it for good.
    """
    content = files(package).joinpath("static", name).read_bytes()
    return f"{path}/{name}?v={sha256(content).hexdigest()[:12]}"
