"""Publish videos: over HTTP, or inside the caller's own database transaction."""
