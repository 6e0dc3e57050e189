"""The span of a request: its route, its status, and nothing that a caller may keep secret."""

from collections.abc import Generator

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.support.api import Api
from tests.support.traces import CALLER, SAMPLED, named, parent_id, span_id, tracing_here

PUBLISH = "POST /api/v1/videos/{video_id}/publish"


@pytest.fixture
def exported() -> Generator[InMemorySpanExporter]:
    with tracing_here() as exporter:
        yield exporter


@pytest.mark.parametrize("more", [{}, {"Prefer": "respond-async"}])
def test_a_publish_is_a_span_below_the_callers_by_either_handler(
    api: Api, exported: InMemorySpanExporter, more: dict[str, str]
) -> None:
    """FastAPI handles the one with a header that is unusual."""
    headers = {"traceparent": SAMPLED, **more}
    assert api.post(f"/videos/{api.video()}/publish/", headers=headers).status_code == 202
    [request] = named(exported, PUBLISH)
    [accepted] = named(exported, "enqueue commands")
    assert (parent_id(request), parent_id(accepted)) == (CALLER, span_id(request))
    assert request.attributes
    assert request.attributes["http.response.status_code"] == 202
    assert request.attributes["http.route"] == "/api/v1/videos/{video_id}/publish"


def test_a_refused_publish_is_not_an_error_of_ours(
    api: Api, exported: InMemorySpanExporter
) -> None:
    assert api.post("/videos/999999/publish/").status_code == 404
    [request] = named(exported, PUBLISH)
    [accepted] = named(exported, "enqueue commands")
    assert request.status.is_ok
    assert accepted.status.is_ok
    assert (accepted.attributes or {})["publish_worker.outcome"] == "refused"


def test_probes_have_no_span_and_unknown_paths_are_not_named(
    api: Api, exported: InMemorySpanExporter
) -> None:
    api.call("GET", "/healthz", None)
    api.call("GET", "/secret?access_token=pw_secret", None)
    [span] = exported.get_finished_spans()
    assert span.name == "GET"
    assert "secret" not in span.to_json()
