"""`/docs`: everything that the page needs is the API's own."""

import re

from tests.support.api import Api


def test_the_page_asks_for_nothing_of_another_host(api: Api) -> None:
    page = api.call("GET", "/docs", None)
    files = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert len(files) > 4
    for file in files:
        assert file.startswith("/"), file
        assert api.call("GET", file, None).status_code == 200, file
    assert "http" not in page.headers["Content-Security-Policy"]


def test_the_script_asks_no_service_to_check_the_document(api: Api) -> None:
    assert "validatorUrl: null" in api.call("GET", "/docs/static/docs.js", None).text


def test_the_frameworks_own_pages_are_gone(api: Api) -> None:
    assert api.call("GET", "/redoc", None).status_code == 404
