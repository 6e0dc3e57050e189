"""Videos in SQL: look up, read facts, write releases and generation states."""
