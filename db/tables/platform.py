"""The platform's tables, which in production its Django owns: we read them, and write little.

Columns bear the names of the documented fields; foreign keys are `<field>_id`. Which schema they
lie in is decided by the connection's search path, so nothing here names one.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from publish_worker_client.events.names import Visibility
from schemas.video import CreationStatus, InternalStatus

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
"""Constraints have names, since errors are told apart by them."""


class Platform(DeclarativeBase):
    """Base of the platform's tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {
        int: BigInteger,
        str: Text,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
    }


def one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """The database's own check that a column holds a value of the enumeration."""
    allowed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({allowed})", name=column)


class WorkspaceRow(Platform):
    __tablename__ = "workspace"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    custom_url: Mapped[str] = mapped_column(String(255), unique=True)


class IamUserRow(Platform):
    __tablename__ = "iam_user"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    full_name: Mapped[str] = mapped_column(String(255))
    username: Mapped[str] = mapped_column(String(150), unique=True)
    is_verified: Mapped[bool] = mapped_column(server_default=text("false"))


class IamUserDetailRow(Platform):
    __tablename__ = "iam_user_detail"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("iam_user.id"), index=True)
    profile_picture: Mapped[str | None]


class TemplateRow(Platform):
    __tablename__ = "template"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str | None]
    thumbnail: Mapped[str | None]


class CategoryRow(Platform):
    __tablename__ = "category"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(String(255))


class SubcategoryRow(Platform):
    __tablename__ = "subcategory"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    category_id: Mapped[int] = mapped_column(ForeignKey("category.id"), index=True)
    name: Mapped[str] = mapped_column(String(255))


class TagRow(Platform):
    __tablename__ = "tag"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(String(255), unique=True)


class VideoRow(Platform):
    __tablename__ = "video"
    __table_args__ = (
        one_of("status", CreationStatus),
        one_of("internal_status", InternalStatus),
        one_of("visibility", Visibility),
        # Lists of a workspace's videos, the newest first.
        Index(None, "workspace_id", "id"),
        # Room in each page for the next version of a row: no index is touched when it is published.
        {"postgresql_with": {"fillfactor": 60}},
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    uid: Mapped[UUID] = mapped_column(unique=True, server_default=text("gen_random_uuid()"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    deleted_at: Mapped[datetime | None]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_by: Mapped[str | None] = mapped_column(String(255))
    updated_by: Mapped[str | None] = mapped_column(String(255))
    deleted_by: Mapped[str | None] = mapped_column(String(255))
    title: Mapped[str] = mapped_column(String(255))
    description: Mapped[str | None]
    cover_image: Mapped[str | None]
    thumbnail: Mapped[str | None]
    generated_script: Mapped[str | None]
    generation_progress: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    status: Mapped[str] = mapped_column(String(20), server_default="not_started")
    internal_status: Mapped[str] = mapped_column(String(20), server_default="planning")
    is_regenerating: Mapped[bool] = mapped_column(server_default=text("false"))
    duration: Mapped[int | None] = mapped_column(Integer)
    visibility: Mapped[str] = mapped_column(String(10), server_default="public")
    is_draft: Mapped[bool] = mapped_column(server_default=text("true"))
    plan: Mapped[dict[str, Any] | None]
    video: Mapped[str | None]
    source_experience_id: Mapped[int | None]
    template_id: Mapped[int] = mapped_column(ForeignKey("template.id"))
    owner_id: Mapped[int] = mapped_column(ForeignKey("iam_user.id"), index=True)
    workspace_id: Mapped[int] = mapped_column(ForeignKey("workspace.id"))
    category_id: Mapped[int | None] = mapped_column(ForeignKey("category.id"))
    subcategory_id: Mapped[int | None] = mapped_column(ForeignKey("subcategory.id"))


class VideoTagRow(Platform):
    __tablename__ = "video_tag"
    __table_args__ = (Index(None, "tag_id", "video_id"),)

    video_id: Mapped[int] = mapped_column(ForeignKey("video.id"), primary_key=True)
    tag_id: Mapped[int] = mapped_column(ForeignKey("tag.id"), primary_key=True)


class SectionRow(Platform):
    __tablename__ = "section"
    __table_args__ = (Index(None, "video_id", "order"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    video_id: Mapped[int] = mapped_column(ForeignKey("video.id"))
    uid: Mapped[UUID] = mapped_column(unique=True, server_default=text("gen_random_uuid()"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    deleted_at: Mapped[datetime | None]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_by: Mapped[str | None] = mapped_column(String(255))
    updated_by: Mapped[str | None] = mapped_column(String(255))
    deleted_by: Mapped[str | None] = mapped_column(String(255))
    alignment_data: Mapped[dict[str, Any] | None]
    audio_ready: Mapped[bool] = mapped_column(server_default=text("false"))
    visuals_ready: Mapped[bool] = mapped_column(server_default=text("false"))
    is_assembling: Mapped[bool] = mapped_column(server_default=text("false"))
    order: Mapped[int] = mapped_column(Integer)
    title: Mapped[str | None] = mapped_column(String(255))
    content: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    duration: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    video_file: Mapped[str | None]
    audio_file: Mapped[str | None]
    thumbnail: Mapped[str | None]
    section_summary: Mapped[str | None]
    internal_notes: Mapped[str | None]
    """For the team only: read by nothing of ours."""


class VideoEngagementRow(Platform):
    """Daily sums per video, written by others."""

    __tablename__ = "video_engagement"

    video_id: Mapped[int] = mapped_column(ForeignKey("video.id"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    views: Mapped[int] = mapped_column(server_default=text("0"))
    unique_viewers: Mapped[int] = mapped_column(server_default=text("0"))
    plays: Mapped[int] = mapped_column(server_default=text("0"))
    completed_plays: Mapped[int] = mapped_column(server_default=text("0"))
    watch_seconds: Mapped[int] = mapped_column(server_default=text("0"))
    likes: Mapped[int] = mapped_column(server_default=text("0"))
    bookmarks: Mapped[int] = mapped_column(server_default=text("0"))
    shares: Mapped[int] = mapped_column(server_default=text("0"))
    comments: Mapped[int] = mapped_column(server_default=text("0"))
