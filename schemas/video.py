"""The Video resource as the platform documents it: the response and the request."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import ConfigDict, Field, JsonValue, field_validator

from schemas.fields import Flag, Frozen, Id, Int32, Name, ShortText, Text, Time, Uri


class CreationStatus(StrEnum):
    """The status of the whole video (the platform's GlobalCreationStatusEnum)."""

    NOT_STARTED = "not_started"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"


class InternalStatus(StrEnum):
    """The stage of generation."""

    PLANNING = "planning"
    SCRIPTING = "scripting"
    AUDIO_SYNC = "audio_sync"
    VISUALS = "visuals"
    RENDERING = "rendering"
    MERGING = "merging"
    COMPLETED = "completed"
    FAILED = "failed"


class Visibility(StrEnum):
    """Who may see the video once it is published."""

    PUBLIC = "public"
    PRIVATE = "private"
    TEAM = "team"
    ORG = "org"


class Owner(Frozen):
    """The video's owner: an IAMUser. The picture is from the first related IAMUserDetail."""

    id: int
    email: str
    full_name: str
    username: str
    is_verified: bool
    profile_picture: str | None


class Template(Frozen):
    """The template that the video was made from."""

    id: int
    name: str
    description: str | None
    thumbnail: str | None


class Section(Frozen):
    """One section of a video, without the team's internal notes."""

    id: int
    uid: UUID
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    is_active: bool
    created_by: str | None
    updated_by: str | None
    deleted_by: str | None
    alignment_data: JsonValue
    audio_ready: bool
    visuals_ready: bool
    is_assembling: bool
    order: int
    title: str | None
    content: JsonValue
    """The section's script: a list of turns."""
    duration: int
    """Seconds."""
    video_file: str | None
    audio_file: str | None
    thumbnail: str | None
    section_summary: str | None


class Video(Frozen):
    """A video with every response field of the platform's VideoDetail."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 7,
                    "sections": [],
                    "template": {
                        "id": 1,
                        "name": "Explainer",
                        "description": None,
                        "thumbnail": None,
                    },
                    "video": "https://cdn.example.com/videos/7.mp4",
                    "owner": {
                        "id": 3,
                        "email": "ada@example.com",
                        "full_name": "Ada Byron",
                        "username": "ada",
                        "is_verified": True,
                        "profile_picture": None,
                    },
                    "owner_username": "ada",
                    "metrics": '{"duration_seconds":312,"section_count":6,"views":0}',
                    "tag_names": ["attention", "transformers"],
                    "category_name": "Science",
                    "subcategory_name": "Machine learning",
                    "custom_url": "ai-research-studio/what-is-attention-k3v9x2a7qd5mp",
                    "uid": "0d9c3c0e-6a0e-4a57-9f0b-6a3b6f2f0b11",
                    "created_at": "2026-11-01T09:00:00Z",
                    "updated_at": "2026-11-01T09:20:00Z",
                    "title": "What is attention?",
                    "workspace": 1,
                    "deleted_at": None,
                    "is_active": True,
                    "created_by": "ada",
                    "updated_by": "ada",
                    "deleted_by": None,
                    "description": "Six minutes on the idea of transformers.",
                    "cover_image": None,
                    "thumbnail": "https://cdn.example.com/videos/7.jpg",
                    "generated_script": "Attention is a way to look things up.",
                    "generation_progress": 100,
                    "status": "completed",
                    "internal_status": "completed",
                    "is_regenerating": False,
                    "duration": 312,
                    "visibility": "public",
                    "is_draft": False,
                    "plan": {"sections": 6},
                    "source_experience": None,
                    "category": 2,
                    "subcategory": 5,
                    "tags": [4, 9],
                }
            ]
        }
    )

    id: int
    sections: list[Section]
    template: Template
    video: str
    """The URI of the rendered file. Empty: not rendered yet."""
    owner: Owner
    owner_username: str
    metrics: str
    """The metrics of the release, as compact JSON. `{}`: never published."""
    tag_names: list[str]
    category_name: str
    subcategory_name: str
    custom_url: str
    """The path of the release, without the domain. Empty: never published."""
    uid: UUID
    created_at: datetime
    updated_at: datetime
    title: str
    workspace: int
    deleted_at: datetime | None
    is_active: bool
    created_by: str | None
    updated_by: str | None
    deleted_by: str | None
    description: str | None
    cover_image: str | None
    thumbnail: str | None
    generated_script: str | None
    generation_progress: int
    """Percent, 0 to 100."""
    status: CreationStatus
    internal_status: InternalStatus
    is_regenerating: bool
    duration: int | None
    """Seconds."""
    visibility: Visibility
    is_draft: bool
    plan: JsonValue
    source_experience: int | None
    category: int | None
    subcategory: int | None
    tags: list[int]


class OwnerReference(Frozen):
    """The owner in a request. Every field that is set must match the video's owner."""

    id: Annotated[int, Field(strict=True)] | None = None
    email: Text | None = None
    full_name: Text | None = None
    username: Text | None = None
    is_verified: Flag | None = None
    profile_picture: Text | None = None


class Editorial(Frozen):
    """The editorial fields without the title, which only some subclasses require."""

    description: Text | None = None
    visibility: Visibility = Visibility.PUBLIC
    category: Id | None = None
    subcategory: Id | None = None
    tags: Annotated[list[Id], Field(max_length=1000)] = []
    cover_image: Uri | None = None
    thumbnail: Uri | None = None

    @field_validator("tags")
    @classmethod
    def _each_once(cls, tags: list[int]) -> list[int]:
        return sorted(set(tags))


class VideoEdits(Editorial):
    """The editorial fields in a publish command.

    Only fields in `model_fields_set` are applied. null clears a field; an absent field is kept.
    """

    title: Name = ""


class VideoInput(Editorial):
    """The documented request of the publish endpoint.

    A client may send back the whole Video. Pipeline-owned fields are validated and not written.
    Read-only fields are ignored.
    """

    template: dict[str, JsonValue]
    owner: OwnerReference
    title: Name
    workspace: Id
    deleted_at: Time | None = None
    is_active: Flag = True
    created_by: ShortText | None = None
    updated_by: ShortText | None = None
    deleted_by: ShortText | None = None
    generated_script: Text | None = None
    generation_progress: Int32 = 0
    status: CreationStatus = CreationStatus.NOT_STARTED
    internal_status: InternalStatus = InternalStatus.PLANNING
    is_regenerating: Flag = False
    duration: Int32 | None = None
    is_draft: Flag = True
    plan: JsonValue = None
    source_experience: Id | None = None

    # Read-only fields: accepted and ignored.
    id: Any = Field(default=None, exclude=True)
    sections: Any = Field(default=None, exclude=True)
    video: Any = Field(default=None, exclude=True)
    owner_username: Any = Field(default=None, exclude=True)
    metrics: Any = Field(default=None, exclude=True)
    tag_names: Any = Field(default=None, exclude=True)
    category_name: Any = Field(default=None, exclude=True)
    subcategory_name: Any = Field(default=None, exclude=True)
    custom_url: Any = Field(default=None, exclude=True)
    uid: Any = Field(default=None, exclude=True)
    created_at: Any = Field(default=None, exclude=True)
    updated_at: Any = Field(default=None, exclude=True)

    def to_edits(self) -> VideoEdits:
        """Return the editorial fields that the caller sent."""
        sent = self.model_fields_set & VideoEdits.model_fields.keys()
        return VideoEdits.model_construct(
            _fields_set=sent, **{field: getattr(self, field) for field in sent}
        )
