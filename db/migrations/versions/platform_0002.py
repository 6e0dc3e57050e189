"""The base: the platform's tables, for installations without a platform of their own."""

revision = "platform_0002"
down_revision = None
branch_labels = ("platform",)
