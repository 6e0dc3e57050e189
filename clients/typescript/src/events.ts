// Written by generate.py from docs/asyncapi.json: `make clients` writes it again.

/** A whole number of up to 64 bits. `JSON.parse` keeps it exact up to 2^53 - 1. `subject` and
 * `sequence` have ids and positions as text, exact at any size. */
export type Int64 = number;

/** An RFC 3339 time with microseconds, such as `2026-12-24T18:00:00.000001Z`. */
export type DateTime = string;

/** The envelope: CloudEvents 1.0, structured JSON, with extension attributes. */
export interface CloudEvent {
  specversion: "1.0";
  /** The same in every redelivery: use it to detect duplicates. */
  id: string;
  /** `/workspaces/{id}`. */
  source: string;
  /** What happened. Pass over types that you do not know. */
  type: string;
  /** The video's id. For `webhook.endpoint_disabled`: the endpoint's id. */
  subject: string;
  time: DateTime;
  datacontenttype: "application/json";
  dataschema: string;
  /** The position: 1, 2, 3 …, without gaps. */
  sequence: string;
  /** The subject. Events with the same key are delivered in order. */
  partitionkey: string;
  videorevision?: Int64 | null;
  correlationid: string;
  /** The command's id. null: no command caused the event. */
  causationid?: string | null;
  traceparent?: string | null;
  /** Its shape depends on `type`, and on the version in `dataschema`. */
  data: object;
}

/** Who may see the video once it is published. */
export type Visibility =
  | "public"
  | "private"
  | "team"
  | "org";

/** The public fields of the owner. */
export interface Person {
  id: Int64;
  username: string;
  full_name: string;
}

/** Computed from the sections, the script and the daily engagement sums. */
export interface Metrics {
  duration_seconds: Int64;
  section_count: Int64;
  script_words: Int64;
  /** 0 while the duration is 0. */
  words_per_minute: number;
  tag_count: Int64;
  /** From the creation of the first section to the last change of a section. null: no
   * sections. */
  generation_seconds: Int64 | null;
  views: Int64;
  /** The sum of each day's unique viewers. */
  unique_viewers: Int64;
  plays: Int64;
  watch_seconds: Int64;
  /** Completed plays per play, 0 to 1; 0 while there are no plays. */
  completion_rate: number;
  likes: Int64;
  bookmarks: Int64;
  shares: Int64;
  comments: Int64;
  computed_at: DateTime;
}

/** The video was published, or its release was updated. */
export interface VideoPublished {
  video_id: Int64;
  uid: string;
  workspace_id: Int64;
  title: string;
  description: string | null;
  visibility: Visibility;
  custom_url: string;
  url: string;
  /** The rendered file's URI. */
  video: string;
  thumbnail: string | null;
  cover_image: string | null;
  duration: Int64 | null;
  owner: Person;
  category: string | null;
  subcategory: string | null;
  tags: string[];
  metrics: Metrics;
  revision: Int64;
  first_publication: boolean;
  first_published_at: DateTime;
  published_at: DateTime;
  trigger: "api" | "cli" | "pipeline" | "queue" | "schedule";
  accepted_at: DateTime;
  /** The requested time. null: at once. */
  asked_for: DateTime | null;
  /** The first moment after both the requested time and the end of generation. */
  due_at: DateTime;
  /** Names of fields that were left out or cut, because the event would be longer than 64 KiB:
   * read them at `GET /api/v1/videos/{video_id}/`. Empty for nearly every event. */
  omitted?: string[];
}

/** The video was unpublished: it is a draft again. Its URL stays reserved for it. */
export interface VideoUnpublished {
  video_id: Int64;
  uid: string;
  workspace_id: Int64;
  title: string;
  custom_url: string;
  /** The former URL. It answers 404 until the video is published again. */
  url: string;
  revision: Int64;
  /** Always false. */
  first_publication: boolean;
  first_published_at: DateTime;
  /** The time of the last publication. */
  published_at: DateTime;
  unpublished_at: DateTime;
  trigger: "api" | "cli" | "pipeline" | "queue" | "schedule";
  accepted_at: DateTime;
  /** The requested time. null: at once. */
  asked_for: DateTime | null;
  due_at: DateTime;
}

/** What a command does to the video. */
export type Action =
  | "publish"
  | "unpublish";

/** A command was scheduled for a later time, or its time or deadline was changed. */
export interface PublishScheduled {
  video_id: Int64;
  workspace_id: Int64;
  action: Action;
  /** Whether the video had never been published when the event was recorded. */
  first_publication: boolean;
  trigger: "api" | "cli" | "pipeline" | "queue" | "schedule";
  accepted_at: DateTime;
  asked_for: DateTime | null;
  /** `asked_for` as a wall-clock time in `time_zone`, if it was requested so. */
  local_time: string | null;
  time_zone: string | null;
  due_at: DateTime;
  publish_before: DateTime | null;
  /** The previous `asked_for`. null: not changed, or it was at once. */
  previously: DateTime | null;
  /** When the event was recorded. */
  scheduled_at: DateTime;
}

/** A command ended as `rejected`, `expired`, `cancelled` or `failed`, and changed nothing. */
export interface PublishEnded {
  video_id: Int64;
  workspace_id: Int64;
  action: Action;
  reason: string;
  detail: string;
  /** Whether the video had never been published. */
  first_publication: boolean;
  trigger: "api" | "cli" | "pipeline" | "queue" | "schedule";
  accepted_at: DateTime;
  /** The requested time. null: at once. */
  asked_for: DateTime | null;
  due_at: DateTime;
  finished_at: DateTime;
}

/** A webhook endpoint was disabled: it answered 410 Gone, or failed for five days. */
export interface EndpointDisabled {
  endpoint_id: string;
  workspace_id: Int64;
  url: string;
  /** `gone` or `failing`. */
  reason: string;
  detail: string;
  disabled_at: DateTime;
}

/** The envelope with the type and the data of one kind of event. */
export interface EventOf<Type extends string, Data extends object> extends CloudEvent {
  type: Type;
  data: Data;
}

/** The video was published, or its release was updated. */
export type VideoPublishedEvent = EventOf<"video.published", VideoPublished>;

/** The video was unpublished: it is a draft again. Its URL stays reserved for it. */
export type VideoUnpublishedEvent = EventOf<"video.unpublished", VideoUnpublished>;

/** A command was scheduled for a later time, or its time or deadline was changed. */
export type VideoPublishScheduledEvent = EventOf<"video.publish_scheduled", PublishScheduled>;

/** A command was scheduled for a later time, or its time or deadline was changed. */
export type VideoPublishRescheduledEvent = EventOf<"video.publish_rescheduled", PublishScheduled>;

/** A command ended as `rejected`, `expired`, `cancelled` or `failed`, and changed nothing. */
export type VideoPublishRejectedEvent = EventOf<"video.publish_rejected", PublishEnded>;

/** A command ended as `rejected`, `expired`, `cancelled` or `failed`, and changed nothing. */
export type VideoPublishExpiredEvent = EventOf<"video.publish_expired", PublishEnded>;

/** A command ended as `rejected`, `expired`, `cancelled` or `failed`, and changed nothing. */
export type VideoPublishCancelledEvent = EventOf<"video.publish_cancelled", PublishEnded>;

/** A command ended as `rejected`, `expired`, `cancelled` or `failed`, and changed nothing. */
export type VideoPublishFailedEvent = EventOf<"video.publish_failed", PublishEnded>;

/** A webhook endpoint was disabled: it answered 410 Gone, or failed for five days. */
export type WebhookEndpointDisabledEvent = EventOf<"webhook.endpoint_disabled", EndpointDisabled>;

/** A test that was asked for: of one endpoint, recorded nowhere, not retried. */
export interface WebhookTestEvent {
  specversion: "1.0";
  /** The same in every redelivery: use it to detect duplicates. */
  id: string;
  /** `/workspaces/{id}`. */
  source: string;
  /** The endpoint's id. */
  subject: string;
  time: DateTime;
  datacontenttype: "application/json";
  type: "webhook.test";
  data: { endpoint_id: string; workspace_id: Int64; url: string };
}

/** The last event of a stream: why it ends, and where to go on. */
export interface Dropped {
  /** `too_slow`, `key_revoked`, `session_ended`, `position_unknown`, or another one. */
  reason: string;
  /** Everything up to this position has been sent. */
  resume_after: Int64;
}

/** An event of a type that is listed here. */
export type KnownEvent =
  | VideoPublishedEvent
  | VideoUnpublishedEvent
  | VideoPublishScheduledEvent
  | VideoPublishRescheduledEvent
  | VideoPublishRejectedEvent
  | VideoPublishExpiredEvent
  | VideoPublishCancelledEvent
  | VideoPublishFailedEvent
  | WebhookEndpointDisabledEvent;

/** For types alone, not a value: a text that equals no known type, so that `event.type === "…"`
 * narrows. With `string` in its place, nothing would. */
declare enum Unlisted {
  Type = "a type that is not listed here",
}

/** The type of an event that is not listed here: any other text. */
export type UnknownType = Unlisted.Type;

/** An event of a type that was added after this client was made: pass over it. */
export type UnknownEvent = EventOf<UnknownType, { [field: string]: unknown }>;

/** An event of the feed or the stream. `switch (event.type)` narrows its `data`. */
export type PublisherEvent = KnownEvent | UnknownEvent;

/** The document that a webhook receives. A test has no `sequence`: it is in no feed. */
export type WebhookEvent = PublisherEvent | WebhookTestEvent;

/** The version of `data` that is described here, for each type. */
export const VERSIONS: Readonly<Record<KnownEvent["type"], string>> = {
  "video.published": "1",
  "video.unpublished": "1",
  "video.publish_scheduled": "1",
  "video.publish_rescheduled": "1",
  "video.publish_rejected": "1",
  "video.publish_expired": "1",
  "video.publish_cancelled": "1",
  "video.publish_failed": "1",
  "webhook.endpoint_disabled": "1",
};
