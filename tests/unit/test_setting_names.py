"""Settings: which environment variables are read, and which names platforms set by themselves."""

import re

import pytest
from pydantic import ValidationError

from worker.runtime.settings import PREFIX, Settings, UpSettings

ADDRESS = "tcp://10.96.41.7:8000"
SET_BY_KUBERNETES = re.compile(r"_(PORT|PROTO|ADDR|SERVICE_HOST|SERVICE_PORT(_\w+)?|TCP|UDP)$")


def service_variables(service: str) -> dict[str, str]:
    """What Kubernetes sets in every container for a Service of this name."""
    name = service.upper().replace("-", "_")
    return {
        f"{name}_PORT": ADDRESS,
        f"{name}_PORT_8000_TCP": ADDRESS,
        f"{name}_PORT_8000_TCP_ADDR": "10.96.41.7",
        f"{name}_PORT_8000_TCP_PORT": "8000",
        f"{name}_PORT_8000_TCP_PROTO": "tcp",
        f"{name}_SERVICE_HOST": "10.96.41.7",
        f"{name}_SERVICE_PORT": "8000",
    }


@pytest.mark.parametrize(
    "service",
    ["api", "redis", "database", "broker", "amqp", "data", "publish-worker", "publish-worker-api"],
)
@pytest.mark.parametrize("read", [Settings, UpSettings])
def test_a_service_of_kubernetes_changes_no_setting(
    monkeypatch: pytest.MonkeyPatch, read: type[Settings], service: str
) -> None:
    before = read()
    for name, value in service_variables(service).items():
        monkeypatch.setenv(name, value)
    assert read() == before
    assert read().model_fields_set == before.model_fields_set


def test_no_setting_has_a_name_that_kubernetes_sets() -> None:
    names = {name.upper() for name in Settings.model_fields}
    assert {name for name in names if SET_BY_KUBERNETES.search(name)} == set()


def test_only_up_reads_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_PORT", "eighty")
    Settings()
    with pytest.raises(ValidationError, match="api_port"):
        UpSettings()


@pytest.mark.parametrize("name", ["API_PORT", f"{PREFIX}API_PORT"])
def test_up_reads_its_port(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "8123")
    assert UpSettings().api_port == 8123


def test_a_name_with_the_prefix_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "of-another-program")
    monkeypatch.setenv("PUBLISH_WORKER_LOG_LEVEL", "warning")
    assert Settings().log_level == "WARNING"


def test_an_empty_name_with_the_prefix_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://bare")
    monkeypatch.setenv("PUBLISH_WORKER_REDIS_URL", "")
    assert Settings().redis_url == "redis://bare"
