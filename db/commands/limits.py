"""Limits: how many open commands videos and workspaces may have. `db.videos.identities` counts."""

from datetime import timedelta

PER_VIDEO = 100
"""The open commands that a video may have."""
PER_WORKSPACE = 1_000_000
"""The open commands that a workspace may have, by a count that is a few seconds old."""
KEPT_FROM = 1_000
"""A workspace with fewer open commands is counted for each request, which is fast."""
KEPT_FOR = timedelta(seconds=10)
