"""URLs of this API's resources and pages."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from pydantic import BaseModel


def api_url(base_url: str, path: str) -> str:
    """The absolute URL of a path of the API."""
    return f"{base_url.rstrip('/')}/api/v1{path}"


def command_url(base_url: str, command_id: UUID) -> str:
    """The URL of a command."""
    return api_url(base_url, f"/publish-commands/{command_id}")


def page_url(base_url: str, path: str, query: BaseModel, **cursor: Any) -> str:
    """The URL of the page that begins at `cursor`, with the filters of `query`."""
    page = query.model_copy(update=cursor).model_dump(mode="json", exclude_defaults=True)
    return f"{api_url(base_url, path)}?{urlencode(page, doseq=True)}"
