"""Settings: a value that cannot work is refused where the process starts."""

import pytest
from pydantic import ValidationError

from worker.runtime.errors_explained import explain
from worker.runtime.settings import Settings


@pytest.mark.parametrize(
    "url",
    [
        "videos.example.com",
        "//videos.example.com",
        "videos.example.com:8000",
        "localhost:8000",
        "ftp://videos.example.com",
        "https://",
        "https:///videos",
        "https:videos.example.com",
        "https://[v1.x]/",
        "https://videos.example.com:99999",
        "https://videos.example.com/?a=b",
        "https://videos.example.com/#top",
        "https://me:secret@videos.example.com",
        "https://videos example.com",
    ],
)
def test_a_public_base_url_that_is_not_a_web_address_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(public_base_url=url)
    text = explain(refused.value)
    assert text is not None
    assert text.startswith("PUBLIC_BASE_URL is not valid: it must be an http or https URL")
    assert "\n" not in text


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000",
        "https://videos.example.com/",
        "HTTPS://Videos.Example.com/base",
        "http://[::1]:8000",
        "https://vidéos.example/",
    ],
)
def test_a_public_base_url_may_have_a_port_and_a_path(url: str) -> None:
    assert Settings(public_base_url=url).public_base_url == url


@pytest.mark.parametrize("seconds", [-1, 61, 0.5])
def test_a_default_wait_is_between_none_and_a_minute(seconds: float) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"publish_wait_seconds": seconds})


@pytest.mark.parametrize(
    ("setting", "value", "advice"),
    [
        ("log_level", "trace", "use DEBUG, INFO, WARNING or ERROR"),
        ("outlets", "stream,kafka", "use stream, or stream,amqp"),
        ("cors_origins", "https://a.example/", "use origins without a path"),
        ("platform_schema", "Pub lic", "use the name of a schema"),
        ("media_base_url", "https://[v1.x]/", "it must be an http or https URL"),
        ("media_base_url", "https://me:secret@cdn.example.com", "it must be an http or https URL"),
        ("stream_keep_days", "inf", "less than or equal"),
        ("canary_video_id", "99999999999999999999", "less than"),
    ],
)
def test_a_setting_that_is_not_valid_is_refused_with_what_is(
    setting: str, value: str, advice: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate({setting: value})
    text = explain(refused.value)
    assert text is not None
    assert text.startswith(f"{setting.upper()} is not valid: ")
    assert advice in text
    assert "^" not in text
    assert "secret" not in text


@pytest.mark.parametrize("name", ["database_url", "redis_url", "broker_url", "public_base_url"])
def test_the_line_feed_at_the_end_of_a_secret_from_a_file_is_removed(name: str) -> None:
    settings = Settings.model_validate({name: "https://publish.example\n"})
    assert getattr(settings, name) == "https://publish.example"


@pytest.mark.parametrize("address", ["0.0.0.0:9464", "[::]:9464", "[::1]:65535", "localhost:1"])
def test_metrics_may_be_served_at_an_address_of_either_family(address: str) -> None:
    assert Settings(metrics_listen=address).metrics_listen == address


@pytest.mark.parametrize("address", ["9464", ":9464", "::1:9464", "host:99999", "host:0", "[x]:1"])
def test_an_address_of_metrics_that_is_not_valid_is_refused_with_an_example(address: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(metrics_listen=address)
    assert "use host:port, such as 0.0.0.0:9464 or [::]:9464" in str(explain(refused.value))
