"""The inbox in SQL: accept, claim, change, count and prune commands."""
