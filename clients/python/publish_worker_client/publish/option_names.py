"""The API's names of the publishers' options, and the options' names in the texts of refusals."""

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from publish_worker_client.publish.errors import PublishRefused

HEADERS = {
    "idempotency_key": "Idempotency-Key",
    "correlation_id": "X-Correlation-Id",
    "traceparent": "traceparent",
}
FIELDS = {**HEADERS, "at": "publish_at", "until": "unpublish_at", "deadline": "publish_before"}
"""The API's name of each option of a publication that has another one there."""


def fields_of(action: str) -> dict[str, str]:
    """Return the API's names of the options for one command: its only time is `at`."""
    return {**HEADERS, "at": f"{action}_at", "deadline": FIELDS["deadline"]}


@contextmanager
def naming_options(fields: Mapping[str, str]) -> Generator[None]:
    """Let the text of a refusal within the block name the caller's options, and not `fields`."""
    try:
        yield
    except PublishRefused as refusal:
        options = {field.lower(): option for option, field in fields.items()}
        names = re.compile(rf"\b({'|'.join(options)})(_local)?\b", re.IGNORECASE)
        refusal.args = (names.sub(lambda found: options[found[1].lower()], str(refusal)),)
        raise
