"""The base: our tables before 0.2.0; `db.migrate` creates new databases from the classes."""

revision = "publisher_0004"
down_revision = None
branch_labels = ("publisher",)
