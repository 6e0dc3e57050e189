"""The Celery worker of another project that also imports publish-worker."""

import worker.app  # pyright: ignore[reportUnusedImport]
import worker.enqueue  # noqa: F401  # pyright: ignore[reportUnusedImport]
from tests.support.foreign_app import app

__all__ = ["app"]
