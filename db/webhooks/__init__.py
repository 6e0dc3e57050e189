"""Webhooks in SQL: endpoints, deliveries and their log."""
