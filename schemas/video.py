"""The Video resource as the platform documents it: the response and the request."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
)
from pydantic_core import ErrorDetails

from publish_worker_client.events.names import Visibility
from schemas.fields import (
    MAX_NAME,
    MAX_URI,
    UNSET,
    Flag,
    Frozen,
    Id,
    Int32,
    Name,
    ShortText,
    Storable,
    Text,
    Uri,
)
from schemas.json_schema import Described
from schemas.times import Time


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
    generation_progress: Int32
    """Percent, 0 to 100."""
    status: CreationStatus
    internal_status: InternalStatus
    is_regenerating: bool
    duration: Int32 | None
    """Seconds."""
    visibility: Visibility
    is_draft: bool
    plan: JsonValue
    source_experience: int | None
    category: int | None
    subcategory: int | None
    tags: list[int]


MAX_DESCRIPTION = 10_000
"""Characters: whatever they are, an event with the description is shorter than 64 KiB."""
MAX_TAGS = 1000


def _list_each_once(tags: list[int]) -> list[int]:
    # A list that is too long stays too long, and is refused.
    return sorted(set(tags) if len(tags) <= MAX_TAGS else tags)


class VideoEdits(Frozen):
    """The editorial fields in a publish command.

    Only fields in `model_fields_set` are applied. null clears a field; an absent field is kept.
    """

    title: Name = UNSET
    description: (
        Annotated[str, StringConstraints(strict=True, max_length=MAX_DESCRIPTION), Storable()]
        | None
    ) = None
    visibility: Visibility = UNSET
    category: Id | None = None
    subcategory: Id | None = None
    tags: Annotated[list[Id], Field(max_length=MAX_TAGS, fail_fast=True)] = UNSET
    cover_image: Uri | None = None
    thumbnail: Uri | None = None


class OwnerReference(Frozen):
    """The owner in a request. Every field that is set must match the video's owner."""

    id: Id | None = None
    email: Text | None = None
    full_name: Text | None = None
    username: Text | None = None
    is_verified: Flag | None = None
    profile_picture: Text | None = None


EchoedTitle = Annotated[Text, Described({"minLength": 1, "maxLength": MAX_NAME})]
_EchoedUri = Annotated[Text, Described({"maxLength": MAX_URI, "format": "uri"})]


class VideoFields(Frozen):
    """The optional fields of the documented request of the publish endpoint.

    A client may send back the whole Video: an editorial field that equals the video's is accepted,
    also where VideoEdits refuses the value. Pipeline-owned fields are validated and not written.
    Read-only fields are ignored. No field has a default: what is left out is kept.
    """

    description: Annotated[Text, Described({"maxLength": MAX_DESCRIPTION})] | None = None
    visibility: Visibility = UNSET
    category: Id | None = None
    subcategory: Id | None = None
    tags: (
        Annotated[
            list[Id],
            Field(fail_fast=True),  # thousands of errors would take a second
            AfterValidator(_list_each_once),
            Described({"maxItems": MAX_TAGS}),
        ]
        | None
    ) = None
    """All tags of the video. null: they are kept, because clients in Java send an empty list for a
    list that was left out if null is not valid."""
    cover_image: _EchoedUri | None = None
    thumbnail: _EchoedUri | None = None
    deleted_at: Time | None = None
    is_active: Flag = UNSET
    created_by: ShortText | None = None
    updated_by: ShortText | None = None
    deleted_by: ShortText | None = None
    generated_script: Text | None = None
    generation_progress: Int32 = UNSET
    status: CreationStatus = UNSET
    internal_status: InternalStatus = UNSET
    is_regenerating: Flag = UNSET
    duration: Int32 | None = None
    is_draft: Flag = UNSET
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


class VideoInput(VideoFields):
    """The documented request of the publish endpoint."""

    template: dict[str, JsonValue]
    owner: OwnerReference
    title: EchoedTitle
    workspace: Id

    def list_sent(self) -> dict[str, Any]:
        """Return the editorial fields that the caller sent."""
        sent = self.model_fields_set & VideoEdits.model_fields.keys()
        if self.tags is None:
            sent -= {"tags"}
        return {name: getattr(self, name) for name in sent}

    def find_errors(self) -> dict[str, ErrorDetails]:
        """Return the editorial fields that no command may carry, each with its error."""
        try:
            VideoEdits.model_validate(self.list_sent())
        except ValidationError as error:
            return {str(each["loc"][0]): each for each in error.errors(include_url=False)}
        return {}

    def to_edits(self) -> VideoEdits:
        """Return the editorial fields that the caller sent, without those of `find_errors`."""
        wrong = self.find_errors()
        sent = {name: value for name, value in self.list_sent().items() if name not in wrong}
        return VideoEdits.model_validate(sent)
