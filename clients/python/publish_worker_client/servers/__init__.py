"""Redis and PostgreSQL: their URLs, and what their errors mean."""
