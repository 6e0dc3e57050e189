"""A browser without scripts that signs in with an identity provider, step by step."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
from redis import Redis
from sqlalchemy import Engine

from tests.support.api import Api, serving
from tests.support.identity_provider import Provider, settings_for
from tests.support.pipeline import BASE_URL
from tests.support.waiting import PATIENCE

START = "/console/sign-in/oidc"
FLOW, SESSION = "publish_worker_sign_in_", "publish_worker_console"


@contextmanager
def console_at(
    provider: Provider, platform: Engine, redis: Redis, redis_url: str
) -> Generator[Api]:
    """The API with this provider, under its public address."""
    with serving(platform, redis, redis_url, **settings_for(provider.issuer)) as api:
        assert api.client
        api.client.base_url = BASE_URL
        yield api


def get(api: Api, path: str, **more: Any) -> Any:
    """Open a page, without following a redirect."""
    assert api.client
    return api.client.get(path, follow_redirects=False, **more)


def go_to_provider(api: Api, after: str = "/console/videos/?q=x") -> str:
    """Begin; return the callback that the provider sends the browser to."""
    begun = get(api, START, params={"after": after})
    assert begun.status_code == 303, begun.text
    answer = httpx.get(begun.headers["location"], timeout=PATIENCE)
    assert answer.status_code == 303, answer.text
    back = urlsplit(answer.headers["location"])
    assert f"{back.scheme}://{back.netloc}" == BASE_URL
    return f"{back.path}?{back.query}"


def come_back(api: Api, callback: str | None = None) -> Any:
    """Complete the sign-in, or one that has begun before."""
    return get(api, callback or go_to_provider(api))


def is_signed_in(api: Api) -> bool:
    """Whether the console shows its first page."""
    return get(api, "/console/").status_code == 200


def read_error(answer: Any) -> str:
    """What the page says went wrong."""
    found = re.search(r'role="alert">([^<]+)<', answer.text)
    assert found, answer.text
    return found[1]


def find_flow_cookie(api: Api) -> tuple[str, str]:
    """Return name and value of the cookie of the sign-in that has begun."""
    assert api.client
    [found] = [(each, text) for each, text in api.client.cookies.items() if each.startswith(FLOW)]
    return found
