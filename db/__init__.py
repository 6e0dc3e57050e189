"""The tables, the connections and every SQL statement. Rules and processes are in worker."""
