"""Internal values: facts read from the database, decisions, callers, attempts."""
