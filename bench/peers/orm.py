"""Celery as most people write it: ORM models, a session per task, `.delay()`, default settings.

Relationships are loaded when they are used, sums are computed in Python, and the session writes
what has changed. Checks, columns, metrics and the event are the same as everywhere.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID

from celery import Celery
from pydantic_core import to_jsonable_python
from redis import Redis
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Table,
    Uuid,
    create_engine,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
    sessionmaker,
)

from bench.peers import work
from schemas.command import CommandState
from schemas.values.video_facts import VideoFacts

app = Celery("orm", broker=os.environ.get("BROKER_URL"))
app.conf.update(task_default_queue="orm", broker_transport_options={"global_keyprefix": "orm:"})
WORKERS = [["celery", "-A", "bench.peers.orm", "worker", "-c", "2"]]
prepare = work.create_outbox


class Base(DeclarativeBase):
    type_annotation_map = {
        int: BigInteger,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
    }


VIDEO_TAG = Table(
    "video_tag",
    Base.metadata,
    Column[int]("video_id", ForeignKey("video.id"), primary_key=True),
    Column[int]("tag_id", ForeignKey("tag.id"), primary_key=True),
)


class Workspace(Base):
    __tablename__ = "workspace"
    id: Mapped[int] = mapped_column(primary_key=True)
    custom_url: Mapped[str]


class User(Base):
    __tablename__ = "iam_user"
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str]
    full_name: Mapped[str]


class Category(Base):
    __tablename__ = "category"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Subcategory(Base):
    __tablename__ = "subcategory"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Tag(Base):
    __tablename__ = "tag"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Section(Base):
    __tablename__ = "section"
    id: Mapped[int] = mapped_column(primary_key=True)
    video_id: Mapped[int] = mapped_column(ForeignKey("video.id"))
    order: Mapped[int]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    is_active: Mapped[bool]
    duration: Mapped[int]
    content: Mapped[list[Any]]


class Engagement(Base):
    __tablename__ = "video_engagement"
    video_id: Mapped[int] = mapped_column(ForeignKey("video.id"), primary_key=True)
    day: Mapped[datetime] = mapped_column(primary_key=True)
    views: Mapped[int]
    unique_viewers: Mapped[int]
    plays: Mapped[int]
    completed_plays: Mapped[int]
    watch_seconds: Mapped[int]
    likes: Mapped[int]
    bookmarks: Mapped[int]
    shares: Mapped[int]
    comments: Mapped[int]


SUMS = (
    *("views", "unique_viewers", "plays", "completed_plays", "watch_seconds"),
    *("likes", "bookmarks", "shares", "comments"),
)


class Release(Base):
    __tablename__ = "video_release"
    __table_args__ = {"schema": "publisher"}
    video_id: Mapped[int] = mapped_column(ForeignKey("video.id"), primary_key=True)
    short_id: Mapped[str]
    custom_url: Mapped[str]
    metrics: Mapped[dict[str, Any]]
    revision: Mapped[int]
    first_published_at: Mapped[datetime]
    published_at: Mapped[datetime]


class Generation(Base):
    __tablename__ = "video_generation"
    __table_args__ = {"schema": "publisher"}
    video_id: Mapped[int] = mapped_column(ForeignKey("video.id"), primary_key=True)
    detail: Mapped[str | None]


class Outbox(Base):
    __tablename__ = work.OUTBOX_TABLE
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    event_id: Mapped[str] = mapped_column(Uuid(as_uuid=False))
    video_id: Mapped[int]
    data: Mapped[dict[str, Any]]


class Video(Base):
    __tablename__ = "video"
    id: Mapped[int] = mapped_column(primary_key=True)
    uid: Mapped[UUID]
    workspace_id: Mapped[int] = mapped_column(ForeignKey("workspace.id"))
    owner_id: Mapped[int] = mapped_column(ForeignKey("iam_user.id"))
    category_id: Mapped[int | None] = mapped_column(ForeignKey("category.id"))
    subcategory_id: Mapped[int | None] = mapped_column(ForeignKey("subcategory.id"))
    status: Mapped[str]
    internal_status: Mapped[str]
    is_regenerating: Mapped[bool]
    is_active: Mapped[bool]
    deleted_at: Mapped[datetime | None]
    video: Mapped[str | None]
    is_draft: Mapped[bool]
    updated_at: Mapped[datetime]
    title: Mapped[str]
    description: Mapped[str | None]
    visibility: Mapped[str]
    cover_image: Mapped[str | None]
    thumbnail: Mapped[str | None]
    duration: Mapped[int | None]
    generated_script: Mapped[str | None]

    workspace: Mapped[Workspace] = relationship()
    owner: Mapped[User] = relationship()
    category: Mapped[Category | None] = relationship()
    subcategory: Mapped[Subcategory | None] = relationship()
    tags: Mapped[list[Tag]] = relationship(secondary=VIDEO_TAG, order_by=Tag.id)
    sections: Mapped[list[Section]] = relationship(order_by=Section.order)
    engagement: Mapped[list[Engagement]] = relationship()
    release: Mapped[Release | None] = relationship()
    generation: Mapped[Generation | None] = relationship()


@cache
def sessions() -> sessionmaker[Session]:
    """One engine per process."""
    return sessionmaker(create_engine(f"postgresql+psycopg{work.database_url()[10:]}"))


@cache
def redis() -> Redis:
    """One client per process."""
    return Redis.from_url(os.environ["REDIS_URL"])


@app.task(name="orm.publish_video")
def publish_video(video_id: int) -> None:
    """Publish one video in one session."""
    with sessions().begin() as session:
        video = session.get(Video, video_id, with_for_update={"of": Video})
        event = publish(session, video) if video else None
    if event:
        redis().xadd(work.STREAM, {"event": event})


def publish(session: Session, video: Video) -> bytes | None:
    """Check, compute and change the objects; return the event."""
    facts = to_facts(video)
    decision = work.decide_as_ours(facts, video.workspace_id, facts.now)
    if decision.state is not CommandState.PUBLISHED or not decision.release or not decision.event:
        return None
    release = decision.release
    video.is_draft, video.updated_at = False, facts.now
    stored = video.release or Release(
        short_id=release.short_id, first_published_at=release.first_published_at
    )
    stored.custom_url = release.custom_url
    stored.metrics = to_jsonable_python(release.metrics)
    stored.revision, stored.published_at = release.revision, release.published_at
    video.release = stored
    data = to_jsonable_python(decision.event.data)
    session.add(Outbox(event_id=decision.event.id, video_id=video.id, data=data))
    return work.to_cloud_event(decision.event.id, video.id, work.to_json(data))


def to_facts(video: Video) -> VideoFacts:
    """Collect what the rules need; each relationship that is used here is a query."""
    sections = [each for each in video.sections if each.is_active and each.deleted_at is None]
    sums = {name: sum(getattr(day, name) for day in video.engagement) for name in SUMS}
    release = video.release
    return VideoFacts(
        id=video.id,
        uid=video.uid,
        workspace_id=video.workspace_id,
        workspace_url=video.workspace.custom_url,
        owner_id=video.owner_id,
        owner_username=video.owner.username,
        owner_full_name=video.owner.full_name,
        status=video.status,
        internal_status=video.internal_status,
        is_regenerating=video.is_regenerating,
        is_active=video.is_active,
        deleted_at=video.deleted_at,
        video=video.video,
        failure=video.generation.detail if video.generation else None,
        is_draft=video.is_draft,
        updated_at=video.updated_at,
        title=video.title,
        description=video.description,
        visibility=video.visibility,
        category_id=video.category_id,
        category=video.category.name if video.category else None,
        subcategory_id=video.subcategory_id,
        subcategory=video.subcategory.name if video.subcategory else None,
        tag_ids=tuple(tag.id for tag in video.tags),
        tags=tuple(tag.name for tag in video.tags),
        cover_image=video.cover_image,
        thumbnail=video.thumbnail,
        duration=video.duration,
        generated_script=video.generated_script,
        contents=[each.content for each in sections] if video.generated_script is None else None,
        section_count=len(sections),
        sections_seconds=sum(each.duration for each in sections),
        first_section_at=min((each.created_at for each in sections), default=None),
        last_section_at=max((each.updated_at for each in sections), default=None),
        revision=release.revision if release else 0,
        custom_url=release.custom_url if release else None,
        first_published_at=release.first_published_at if release else None,
        published_at=release.published_at if release else None,
        now=datetime.now(UTC),
        **sums,
    )


def open_sender() -> work.Send:
    """One `.delay()` per video."""

    def send(video_ids: Sequence[int]) -> None:
        for video_id in video_ids:
            publish_video.delay(video_id)

    return send
