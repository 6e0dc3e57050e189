"""The router of this API: strict about JSON, and each route with and without a trailing slash."""

from collections.abc import Callable, Coroutine
from json import JSONDecodeError
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json


class StrictRequest(Request):
    """A request with JSON by RFC 8259: without NaN, lone surrogates and unlimited depth."""

    async def json(self) -> Any:
        """The body, parsed. Raises JSONDecodeError if it is not valid JSON."""
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise JSONDecodeError(str(error), "", 0) from error


class StrictRoute(APIRoute):
    """A route that reads its body with `StrictRequest`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own handler, with a strict request."""
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            return await handle(StrictRequest(request.scope, request.receive))

        return handle_strictly


class Router(APIRouter):
    """Adds each route twice: with and without a trailing slash.

    OpenAPI documents only the declared form.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(route_class=StrictRoute, **options)

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Add the route as declared, and its undocumented other form."""
        super().add_api_route(path, endpoint, **options)
        other = path.rstrip("/") if path.endswith("/") else f"{path}/"
        options |= {"include_in_schema": False, "name": None, "operation_id": None}
        super().add_api_route(other, endpoint, **options)
