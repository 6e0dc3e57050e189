"""Measures this project and its peer on the same work, on real engines, with real processes."""
