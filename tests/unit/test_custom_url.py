"""custom_url: valid for any title, stable, unique by the video, bounded in length."""

import re
from hashlib import sha256
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from slugify import slugify

from worker.rules import custom_url

UID = UUID("0d9c3c0e-6a0e-4a57-9f0b-6a3b6f2f0b11")
PATH = re.compile(r"research/[a-z0-9]+(?:-[a-z0-9]+)*-[0-9abcdefghjkmnpqrstvwxyz]{13}")

titles = st.text(max_size=255)
uids = st.uuids()


@given(titles, uids)
def test_any_title_makes_a_valid_path(title: str, uid: UUID) -> None:
    assert PATH.fullmatch(
        custom_url.build_custom_url("research", title, custom_url.compute_short_id(uid))
    )


@given(titles, uids)
def test_the_path_is_the_same_each_time(title: str, uid: UUID) -> None:
    assert custom_url.build_custom_url(
        "w", title, custom_url.compute_short_id(uid)
    ) == custom_url.build_custom_url("w", title, custom_url.compute_short_id(uid))


@given(titles)
def test_the_slug_is_bounded(title: str) -> None:
    assert 1 <= len(custom_url.to_slug(title)) <= custom_url.SLUG_LENGTH


@given(titles, st.lists(uids, min_size=2, max_size=20, unique=True))
def test_two_videos_of_one_title_have_two_paths(title: str, several: list[UUID]) -> None:
    assert len(
        {
            custom_url.build_custom_url("w", title, custom_url.compute_short_id(uid))
            for uid in several
        }
    ) == len(several)


@given(titles, titles, uids)
def test_every_old_path_still_leads_to_the_video(old: str, new: str, uid: UUID) -> None:
    before = custom_url.build_custom_url("research", old, custom_url.compute_short_id(uid))
    after = custom_url.build_custom_url("research", new, custom_url.compute_short_id(uid))
    assert custom_url.find_short_id(before) == custom_url.find_short_id(after)
    assert custom_url.find_short_id(before + "/") == custom_url.compute_short_id(uid)


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("What is attention?", "what-is-attention"),
        ("Straße & Brücke", "strasse-brucke"),
        ("Что такое свет?", "chto-takoe-svet"),
        ("🚀🚀🚀", "video"),
        ("???", "video"),
        ("", "video"),
        ("  Two\nlines ", "two-lines"),
        ("<script>alert(1)</script>", "script-alert-1-script"),
        ("x" * 300, "x" * 60),
        (
            " ".join(["twelve chars"] * 9),
            "twelve-chars-twelve-chars-twelve-chars-twelve-chars-twelve",
        ),
    ],
)
def test_titles_become_readable(title: str, slug: str) -> None:
    assert custom_url.to_slug(title) == slug


def test_the_short_id_is_sixty_five_bits_of_the_hash_in_crockford_base32() -> None:
    """Written out once, so that no change of code changes the URLs that are out."""
    assert custom_url.compute_short_id(UUID(int=0)) == "6x3ghzzqe6exb"


@pytest.mark.parametrize("path", ["", "research", "research/what-is-light", "x/" + "u" * 13])
def test_a_path_without_a_short_id_is_answered_with_404(path: str) -> None:
    assert custom_url.find_short_id(path) is None


def test_the_base_url_is_the_prefix() -> None:
    assert custom_url.to_absolute_url("https://v.example/", "a/b") == "https://v.example/a/b"


mixed = st.text("aB9 ,.'&;#-_·éßÜ漢あ한1,2\u0301\u2019\uff06\uff0c\x00", max_size=90)


@settings(max_examples=500)
@given(titles | mixed)
@example("1,000 o\u2019clock's — it\u2019s 5\uff06lt; · take 12")
def test_the_slug_is_the_one_that_slugify_makes(title: str) -> None:
    wanted = slugify(
        title,
        max_length=custom_url.SLUG_LENGTH,
        word_boundary=True,
        save_order=True,
        backend=custom_url.TRANSLITERATION,
    )
    assert custom_url.to_slug(title) == (wanted or custom_url.EMPTY_SLUG)


@given(uids)
def test_the_short_id_is_the_first_65_bits_of_the_digest(uid: UUID) -> None:
    bits = int.from_bytes(sha256(uid.bytes).digest()) >> (256 - 65)
    number = 0
    for character in custom_url.compute_short_id(uid):
        number = 32 * number + "0123456789abcdefghjkmnpqrstvwxyz".index(character)
    assert number == bits
