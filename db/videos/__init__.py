"""Videos in SQL: look up, read the facts of a publish, write releases and generation."""
