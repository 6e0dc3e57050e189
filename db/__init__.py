"""The tables, the sessions, and every SQL statement. What happens with them is worker's."""
