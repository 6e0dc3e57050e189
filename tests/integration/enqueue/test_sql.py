"""Enqueue in SQL, in the caller's own transaction: `publisher.enqueue_publish`."""

from tests.support.pipeline import Pipeline


def test_first(pipeline: Pipeline) -> None:
    video = pipeline.video()
    pipeline.rows("SELECT publisher.enqueue_publish(%s)", video)
    assert pipeline.run() == 1
    [event] = pipeline.events()
    assert (event["type"], event["data"]["trigger"]) == ("video.published", "pipeline")
