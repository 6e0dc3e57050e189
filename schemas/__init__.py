"""Requests, resources and events. This package imports no other package of the project."""
