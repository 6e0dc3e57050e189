"""The outbox in SQL: append events, read them back, and keep each outlet's position."""
