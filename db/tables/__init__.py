"""The tables: the platform's, and ours in the schema `publisher`."""
