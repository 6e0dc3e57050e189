"""Events: CloudEvents with typed data, the stream's entries, and the outbox."""
