"""The platform's tables, for those who have no platform: `migrate --with-platform`."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "platform_0001"
down_revision = None
branch_labels = ("platform",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "category",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_category")),
    )
    op.create_table(
        "iam_user",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("full_name", sa.String(length=255), nullable=False),
        sa.Column("username", sa.String(length=150), nullable=False),
        sa.Column("is_verified", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_user")),
        sa.UniqueConstraint("email", name=op.f("uq_iam_user_email")),
        sa.UniqueConstraint("username", name=op.f("uq_iam_user_username")),
    )
    op.create_table(
        "tag",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tag")),
        sa.UniqueConstraint("name", name=op.f("uq_tag_name")),
    )
    op.create_table(
        "template",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("thumbnail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_template")),
    )
    op.create_table(
        "workspace",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("custom_url", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workspace")),
        sa.UniqueConstraint("custom_url", name=op.f("uq_workspace_custom_url")),
    )
    op.create_table(
        "iam_user_detail",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("profile_picture", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["iam_user.id"], name=op.f("fk_iam_user_detail_user_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_user_detail")),
    )
    op.create_index(
        op.f("ix_iam_user_detail_user_id"), "iam_user_detail", ["user_id"], unique=False
    )
    op.create_table(
        "subcategory",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("category_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(
            ["category_id"], ["category.id"], name=op.f("fk_subcategory_category_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subcategory")),
    )
    op.create_index(
        op.f("ix_subcategory_category_id"), "subcategory", ["category_id"], unique=False
    )
    op.create_table(
        "video",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("uid", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=True),
        sa.Column("updated_by", sa.String(length=255), nullable=True),
        sa.Column("deleted_by", sa.String(length=255), nullable=True),
        sa.Column("title", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("cover_image", sa.Text(), nullable=True),
        sa.Column("thumbnail", sa.Text(), nullable=True),
        sa.Column("generated_script", sa.Text(), nullable=True),
        sa.Column("generation_progress", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("status", sa.String(length=20), server_default="not_started", nullable=False),
        sa.Column(
            "internal_status", sa.String(length=20), server_default="planning", nullable=False
        ),
        sa.Column("is_regenerating", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("duration", sa.Integer(), nullable=True),
        sa.Column("visibility", sa.String(length=10), server_default="public", nullable=False),
        sa.Column("is_draft", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("plan", JSONB(), nullable=True),
        sa.Column("video", sa.Text(), nullable=True),
        sa.Column("source_experience_id", sa.BigInteger(), nullable=True),
        sa.Column("template_id", sa.BigInteger(), nullable=False),
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        sa.Column("workspace_id", sa.BigInteger(), nullable=False),
        sa.Column("category_id", sa.BigInteger(), nullable=True),
        sa.Column("subcategory_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "internal_status IN ('planning', 'scripting', 'audio_sync', 'visuals', 'rendering', 'merging', 'completed', 'failed')",
            name=op.f("ck_video_internal_status"),
        ),
        sa.CheckConstraint(
            "status IN ('not_started', 'in_progress', 'completed', 'failed')",
            name=op.f("ck_video_status"),
        ),
        sa.CheckConstraint(
            "visibility IN ('public', 'private', 'team', 'org')", name=op.f("ck_video_visibility")
        ),
        sa.ForeignKeyConstraint(
            ["category_id"], ["category.id"], name=op.f("fk_video_category_id")
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["iam_user.id"], name=op.f("fk_video_owner_id")),
        sa.ForeignKeyConstraint(
            ["subcategory_id"], ["subcategory.id"], name=op.f("fk_video_subcategory_id")
        ),
        sa.ForeignKeyConstraint(
            ["template_id"], ["template.id"], name=op.f("fk_video_template_id")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_video_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_video")),
        sa.UniqueConstraint("uid", name=op.f("uq_video_uid")),
    )
    op.create_index(op.f("ix_video_owner_id"), "video", ["owner_id"], unique=False)
    op.create_index(op.f("ix_video_workspace_id"), "video", ["workspace_id"], unique=False)
    op.create_table(
        "section",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("video_id", sa.BigInteger(), nullable=False),
        sa.Column("uid", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=True),
        sa.Column("updated_by", sa.String(length=255), nullable=True),
        sa.Column("deleted_by", sa.String(length=255), nullable=True),
        sa.Column("alignment_data", JSONB(), nullable=True),
        sa.Column("audio_ready", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("visuals_ready", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_assembling", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("order", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(length=255), nullable=True),
        sa.Column("content", JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("duration", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("video_file", sa.Text(), nullable=True),
        sa.Column("audio_file", sa.Text(), nullable=True),
        sa.Column("thumbnail", sa.Text(), nullable=True),
        sa.Column("section_summary", sa.Text(), nullable=True),
        sa.Column("internal_notes", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], name=op.f("fk_section_video_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_section")),
        sa.UniqueConstraint("uid", name=op.f("uq_section_uid")),
    )
    op.create_index(
        op.f("ix_section_video_id_order"), "section", ["video_id", "order"], unique=False
    )
    op.create_table(
        "video_engagement",
        sa.Column("video_id", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("views", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("unique_viewers", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("plays", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("completed_plays", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("watch_seconds", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("likes", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("bookmarks", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("shares", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("comments", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["video_id"], ["video.id"], name=op.f("fk_video_engagement_video_id")
        ),
        sa.PrimaryKeyConstraint("video_id", "day", name=op.f("pk_video_engagement")),
    )
    op.create_table(
        "video_tag",
        sa.Column("video_id", sa.BigInteger(), nullable=False),
        sa.Column("tag_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tag_id"], ["tag.id"], name=op.f("fk_video_tag_tag_id")),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], name=op.f("fk_video_tag_video_id")),
        sa.PrimaryKeyConstraint("video_id", "tag_id", name=op.f("pk_video_tag")),
    )


def downgrade() -> None:
    for table in (
        "video_tag",
        "video_engagement",
        "section",
        "video",
        "subcategory",
        "iam_user_detail",
        "workspace",
        "template",
        "tag",
        "iam_user",
        "category",
    ):
        op.drop_table(table)
