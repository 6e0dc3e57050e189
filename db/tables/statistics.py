"""Statistics of our tables that PostgreSQL's planner must not have.

Almost all commands and deliveries have ended whenever autovacuum analyses their tables. The planner
then takes it that none is open: each partial index costs the same, and the claim reads one whole
for each of its commands. Without statistics it assumes one row in a hundred.
"""

NO_STATES = """
ALTER TABLE publisher.publish_command ALTER COLUMN state SET STATISTICS 0;
ALTER TABLE publisher.webhook_delivery ALTER COLUMN state SET STATISTICS 0
"""
