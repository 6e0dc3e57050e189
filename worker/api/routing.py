"""Routes of this API: strict about JSON, served with and without the trailing slash."""

from collections.abc import Callable, Coroutine
from json import JSONDecodeError
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json


class StrictRequest(Request):
    """Takes JSON as RFC 8259 has it: no NaN, no lone surrogates, no endless depth."""

    async def json(self) -> Any:
        """The body as JSON; JSONDecodeError where it is none."""
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise JSONDecodeError(str(error), "", 0) from error


class StrictRoute(APIRoute):
    """A route whose request is strict about JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own handler, on a stricter request."""
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await handle(StrictRequest(request.scope, request.receive))

        return strictly


class Router(APIRouter):
    """Adds each route twice: as the platform's clients call it, and as everybody else does.

    Only the form that it is declared in is documented.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(route_class=StrictRoute, **options)

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Add the route as given, and its twin without a place in the documents."""
        super().add_api_route(path, endpoint, **options)
        twin = path.rstrip("/") if path.endswith("/") else f"{path}/"
        options |= {"include_in_schema": False, "name": None, "operation_id": None}
        super().add_api_route(twin, endpoint, **options)
