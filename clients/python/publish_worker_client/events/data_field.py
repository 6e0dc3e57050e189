"""The data of a CloudEvent in the JSON format: a JSON value, or JSON as Base64 or in a string."""

from base64 import b64decode
from typing import Any

from pydantic_core import from_json


def read_data(event: dict[str, Any]) -> Any:
    """Return the data; None if there is none. An attribute that is null counts as absent.

    `data_base64` (CloudEvents 1.0, JSON format, 3.1) holds the bytes of a JSON document in UTF-8,
    as SDKs write it for data that they were given as bytes. Raises ValueError if it does not, or if
    there is `data` as well.
    """
    data, encoded = event.get("data"), event.get("data_base64")
    if encoded is None:
        return from_json(data) if isinstance(data, str) else data
    if data is not None or not isinstance(encoded, str):
        raise ValueError("data_base64 must be a string, and replaces data")
    return from_json(b64decode(encoded, validate=True).removeprefix(b"\xef\xbb\xbf"))
