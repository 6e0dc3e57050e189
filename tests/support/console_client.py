"""The console over HTTP, as a browser calls it: a session's cookie, and its CSRF token."""

import re
from dataclasses import dataclass
from typing import Any

from tests.support.api import Api


@dataclass
class Console:
    """A signed-in person without a script."""

    api: Api
    csrf: str = ""

    @classmethod
    def sign_in(cls, api: Api, caller: str = "admin") -> "Console":
        """Sign in with the key of one of `CALLERS`."""
        console = cls(api)
        assert api.client
        api.client.cookies.clear()
        api.client.base_url = "https://testserver"
        console.post("/console/sign-in", key=api.secret(caller))
        found = re.search(r'name="csrf" value="([^"]+)"', console.get("/console/calendar/").text)
        assert found
        console.csrf = found[1]
        return console

    def get(self, path: str, **parameters: Any) -> Any:
        """Open a page."""
        assert self.api.client
        return self.api.client.get(path, params=parameters or None, follow_redirects=False)

    def post(self, path: str, **form: Any) -> Any:
        """Send a form; the answer is that of the page it leads to."""
        assert self.api.client
        data = {"csrf": self.csrf, "confirmed": "yes", **form}
        return self.api.client.post(path, data=data, follow_redirects=True)
