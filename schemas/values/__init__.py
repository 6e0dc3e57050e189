"""Values that stay inside the worker: facts that were read, decisions, callers, attempts."""
