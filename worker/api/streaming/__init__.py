"""Server-Sent Events: one tail of the stream per process, many readers."""
