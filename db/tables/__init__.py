"""The tables: the platform's, and our own in the schema `publisher`."""
