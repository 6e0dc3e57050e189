"""Routes that are served with and without the trailing slash; only one form is documented."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter


class Router(APIRouter):
    """Adds each route twice: as the platform's clients call it, and as everybody else does."""

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Add the route as given, and its twin without a place in the documents."""
        super().add_api_route(path, endpoint, **options)
        twin = path.rstrip("/") if path.endswith("/") else f"{path}/"
        options |= {"include_in_schema": False, "name": None, "operation_id": None}
        super().add_api_route(twin, endpoint, **options)
