"""The HTTP door: each route parses, calls one function, answers. `worker.api:app` is ASGI."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI

    app: FastAPI


def __getattr__(name: str) -> Any:
    """Make the application when a server asks for it: the command line uses only its resources."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from worker.api.application import create_app  # noqa: PLC0415 - FastAPI, for servers alone

    globals()["app"] = made = create_app()
    return made
