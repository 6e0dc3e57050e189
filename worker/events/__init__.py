"""Events on their way out: from the outbox to the Redis stream, AMQP and the feed."""
