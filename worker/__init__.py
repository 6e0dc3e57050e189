"""What happens: enqueue, publish, relay, and the doors to them."""
