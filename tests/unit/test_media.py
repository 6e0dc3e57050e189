"""URIs of media: a path becomes one below the base URL, and back."""

import pytest

from worker.rules.media import to_media_url, to_stored_edits

BASE = "https://cdn.example.com/media"


@pytest.mark.parametrize("base", [BASE, f"{BASE}/"])
@pytest.mark.parametrize(
    ("stored", "url"),
    [
        ("covers/7.png", f"{BASE}/covers/7.png"),
        ("covers/Où est #7?.png", f"{BASE}/covers/O%C3%B9%20est%20%237%3F.png"),
        ("/static/7.png", "https://cdn.example.com/static/7.png"),
        ("https://elsewhere.example/7.png", "https://elsewhere.example/7.png"),
        ("s3://bucket/7.png", "s3://bucket/7.png"),
        ("data:image/png;base64,AA==", "data:image/png;base64,AA=="),
        ("", ""),
        (None, None),
    ],
)
def test_a_path_becomes_a_uri_and_an_absolute_one_stays(
    base: str, stored: str | None, url: str | None
) -> None:
    assert to_media_url(base, stored) == url


def test_without_a_base_url_everything_stays() -> None:
    assert to_media_url(None, "covers/7.png") == "covers/7.png"
    edits = {"cover_image": f"{BASE}/covers/7.png"}
    assert to_stored_edits(None, edits) == edits


def test_a_uri_below_the_base_url_is_stored_as_its_path() -> None:
    edits = {
        "title": f"{BASE}/a title",
        "cover_image": f"{BASE}/covers/O%C3%B9.png",
        "thumbnail": "https://elsewhere.example/7.png",
    }
    assert to_stored_edits(BASE, edits) == edits | {"cover_image": "covers/Où.png"}
    assert to_stored_edits(BASE, {"cover_image": None}) == {"cover_image": None}
