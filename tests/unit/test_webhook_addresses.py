"""Which addresses webhooks may go to."""

from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.webhooks.addresses import AddressRefused, is_allowed
from worker.webhooks.look_ups import LookUps, check_url
from worker.webhooks.urls import parse_url


def unasked(host: str, _port: int) -> list[str]:
    """A resolver for what must be refused, or is decided, without it."""
    raise AssertionError(f"{host} was looked up")


def nowhere(_host: str, _port: int) -> list[str]:
    raise OSError("Name or service not known")


def public(_host: str, _port: int) -> list[str]:
    return ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"]


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/",
        "https://hooks.example.com:8443/in?key=a%20b",
        "https://HOOKS.example.com",
        "https://bücher.example/",
        "https://8.8.8.8/",
        "https://[2606:4700:4700::1111]:443/",
        "https://[::ffff:8.8.8.8]/",
        "https://[64:ff9b::8.8.8.8]/",
    ],
)
def test_public_addresses_are_called(url: str) -> None:
    check_url(url, 1, allow_private=False, look_ups=LookUps(public))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "127.0.0.01",
        "\N{FULLWIDTH DIGIT ONE}27.0.0.1",
        "127。0。0。1",
        "①②⑦.0.0.1",
        "0",
        "0.0.0.0",  # noqa: S104 - not a socket
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.168.1.1",
        "198.18.0.1",
        "203.0.113.7",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "256.256.256.256",
        "1.2.3.4.5",
        "[::]",
        "[::1]",
        "[::127.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:a9fe:a9fe]",
        "[64:ff9b::169.254.169.254]",
        "[64:ff9b:1::1]",
        "[2001:0:1::1]",
        "[2001:db8::1]",
        "[2002:7f00:1::]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[fec0::1]",
        "[ff02::1]",
        "[100::1]",
        "[::ffff:0:127.0.0.1]",
        "[v1.x]",
        "[vF.2606:4700::1]",
        "[8.8.8.8]",
        "[hooks.example.com]",
        "[]",
        "[2606:4700::1]8.8.8.8",
        "hooks.example.com[2606:4700::1]",
        "[2606:4700::1]]",
        "[[2606:4700::1]",
        "2606:4700::1",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "api.localhost",
        "printer.local",
        "metadata.google.internal",
        "router.lan",
        "postgres",
        "hooks.example.com.",
        "hooks..example.com",
        "-hooks.example.com",
        "hooks_.example.com%00",
        "%6c%6f%63%61%6c%68%6f%73%74",
        f"{'a' * 64}.example.com",
        "",
    ],
)
def test_everything_else_is_refused_without_a_look_up(host: str) -> None:
    with pytest.raises(AddressRefused):
        check_url(f"https://{host}/", 1, allow_private=False, look_ups=LookUps(unasked))


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "//hooks.example.com/",
        "hooks.example.com",
        "https:hooks.example.com",
        "https://user@hooks.example.com/",
        "https://user:secret@hooks.example.com/",
        "https://hooks.example.com@127.0.0.1/",
        "https://hooks.example.com\\@127.0.0.1/",
        "https://hooks.example.com/#part",
        "https://hooks.example.com/a b",
        "https://hooks.example.com/\r\nhost: x",
        "\thttps://hooks.example.com/",
        "https://hooks.example.com/ü",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:65536/",
        "https://hooks.example.com:x/",
        "https://hooks.example.com:-1/",
        "https://hooks.example.com:+443/",
        "https://hooks.example.com:443:443/",
        "https://hooks.example.com:000443/",
        "https://hooks.example.com:\N{ARABIC-INDIC DIGIT FOUR}43/",
        "https://[2606:4700::1]x:443/",
        "https://[::1/",
        "https://hooks.example.com:/\x7f",
        "",
    ],
)
def test_unusual_urls_are_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        check_url(url, 1, allow_private=False, look_ups=LookUps(unasked))


SETTING = "WEBHOOKS_ALLOW_PRIVATE"


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://127.0.0.1:8080/hooks", SETTING),
        ("http://hooks.example.com/", "must begin with https://"),
        ("https://127.0.0.1:8080/hooks", SETTING),
        ("https://192.168.1.1/", "192.168.1.1, which is not a public address"),
        ("https://[fd00::1]/", SETTING),
        ("https://receiver/", SETTING),
        ("https://169.254.169.254/", "never allowed"),
        ("ftp://hooks.example.com/", "must begin with https://"),
        ("https:///hooks", "and a host"),
        ("https://user:secret@hooks.example.com/", "user name or a password"),
        ("https://hooks.example.com/#part", "fragment"),
        ("https://hooks.example.com/ü", "percent-encoded"),
        ("https://hooks.example.com/a b", "white space"),
        ("https://hooks.example.com:0/", "port is 0"),
        ("https://hooks.example.com:65536/", "port is 65536"),
        ("https://hooks.example.com:http/", "port is not a number"),
        ("https://hooks.example.com./", "end in a dot"),
        ("https://hooks-.example.com/", "not a valid host name"),
        ("https://127.1/", "usual spelling"),
        ("https://[v1.x]/", "usual spelling"),
    ],
)
def test_a_refusal_names_the_rule(url: str, rule: str) -> None:
    with pytest.raises(AddressRefused) as refused:
        check_url(url, 1, allow_private=False, look_ups=LookUps(unasked))
    assert rule in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://user:s3cret@hooks.example.com/",
        "https://user:s3cret\N{CARE OF}@hooks.example.com/",
        "https://user:s3cret/@hooks.example.com/",
        "https://user:s3cret@hooks.example.com:x/",
        "https://user:s3cret@[::1/",
        "https://hooks.example.com:s3cret/",
        "ftp://user:s3cret@hooks.example.com/",
        "https://hooks.example.com/s3cret#part",
        "https://hooks.example.com/ü?s3cret",
    ],
)
def test_a_refusal_repeats_no_password_and_no_path(url: str) -> None:
    with pytest.raises(AddressRefused) as refused:
        check_url(url, 1, allow_private=False, look_ups=LookUps(unasked))
    assert "s3cret" not in str(refused.value)


@given(st.text())
def test_no_url_is_another_error(text: str) -> None:
    for url in (text, f"https://{text}", f"https://[{text}]/", f"https://hooks.example.com:{text}"):
        with suppress(AddressRefused):
            parse_url(url, allow_private=True)


@pytest.mark.parametrize("found", ["10.0.0.1", "::1", "::ffff:10.0.0.1", "169.254.169.254"])
def test_a_name_with_one_private_address_is_refused(found: str) -> None:
    with pytest.raises(AddressRefused, match="not a public address"):
        check_url(
            "https://hooks.example.com/",
            1,
            allow_private=False,
            look_ups=LookUps(lambda _host, _port: ["93.184.216.34", found]),
        )


def test_a_name_without_an_address_passes() -> None:
    check_url("https://hooks.example.com/", 1, allow_private=False, look_ups=LookUps(nowhere))


@pytest.mark.parametrize(
    "url", ["http://localhost:8080/", "http://127.0.0.1/", "http://[::1]/", "http://receiver:80/"]
)
def test_development_may_call_itself(url: str) -> None:
    check_url(url, 1, allow_private=True, look_ups=LookUps(nowhere))


@pytest.mark.parametrize("host", ["169.254.169.254", "0.1.2.3", "224.0.0.1", "[fe80::1]", "127.1"])
def test_metadata_addresses_and_unusual_spellings_are_refused_even_in_development(
    host: str,
) -> None:
    with pytest.raises(AddressRefused):
        check_url(f"http://{host}/", 1, allow_private=True, look_ups=LookUps(unasked))


def test_a_url_is_taken_apart_into_what_is_sent() -> None:
    target = parse_url("https://Bücher.Example:8443?a=b%20c", allow_private=False)
    assert target.authority == "xn--bcher-kva.example:8443"
    assert target.path == "/?a=b%20c"
    assert parse_url("https://[2606:4700:0::1]/", allow_private=False).authority == "[2606:4700::1]"


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_nothing_that_is_not_global_is_allowed(address: IPv4Address) -> None:
    if is_allowed(address, allow_private=False):
        assert address.is_global
        assert not address.is_multicast


@given(st.integers(0, 2**32 - 1).map(IPv4Address), st.sampled_from(["::ffff:0:0", "64:ff9b::"]))
def test_an_embedded_address_counts_as_itself(address: IPv4Address, prefix: str) -> None:
    embedding = IPv6Address(int(IPv6Address(prefix)) | int(address))
    assert is_allowed(embedding, allow_private=False) == is_allowed(address, allow_private=False)


@given(st.integers(0, 2**128 - 1).map(IPv6Address))
def test_only_global_unicast_is_allowed(address: IPv6Address) -> None:
    embeds = address.ipv4_mapped or str(address).startswith("64:ff9b::")
    if is_allowed(address, allow_private=False) and not embeds:
        assert address.is_global
        assert not address.is_multicast


@given(st.ip_addresses(v=4))
def test_an_address_has_one_spelling(address: IPv4Address) -> None:
    for spelt in (str(int(address)), hex(int(address)), f"{address}."):
        with pytest.raises(AddressRefused):
            parse_url(f"https://{spelt}/", allow_private=False)
