"""The route for Prometheus: every metric, in the format that the scraper asks for."""

import asyncio

from fastapi import Request, Response
from prometheus_client.exposition import choose_encoder

from worker.api import problems
from worker.api.documents.responses import HEAD_PROBLEMS, failures
from worker.api.routing import Router
from worker.operations.gauges import GaugeReader
from worker.runtime.metrics import make_registry

router = Router(tags=["operations"])


@router.get(
    "/metrics",
    operation_id="metrics",
    summary="Read the metrics, for Prometheus",
    response_class=Response,
    responses=HEAD_PROBLEMS
    | failures(problems.METHOD_NOT_ALLOWED)
    | {
        200: {
            "description": "The metrics, in OpenMetrics if `Accept` names it.",
            "content": {
                "text/plain": {"example": "publish_worker_database_up 1.0\n"},
                "application/openmetrics-text": {
                    "example": "publish_worker_database_up 1.0\n# EOF\n"
                },
            },
        }
    },
)
async def metrics(request: Request) -> Response:
    """Return the metrics of the processes that share this one's directory, and the gauges of the
    database and Redis, which are at most two seconds old. Needs no key: no proxy may publish it.
    """
    reader: GaugeReader = request.app.state.gauges
    gauges = await reader.read()
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    text = await asyncio.to_thread(lambda: encode(make_registry(gauges)))
    return Response(text, headers={"Content-Type": content_type})
