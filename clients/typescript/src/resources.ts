// Written by generate.py from the OpenAPI document: `make clients` writes it again.

import type { Action, Visibility, DateTime, Int64 } from "./events.ts";

/** The state of a command: `scheduled`, `waiting` (for generation), or an outcome. */
export type CommandState =
  | "scheduled"
  | "waiting"
  | "published"
  | "unpublished"
  | "unchanged"
  | "rejected"
  | "expired"
  | "cancelled"
  | "failed"
  | (string & {});

/** The origin of a command or of an event. A command's trigger is the interface that accepted
 * it. An event's trigger is the last of: that interface, the scheduled time (`schedule`), the
 * end of generation (`pipeline`). */
export type Trigger =
  | "api"
  | "cli"
  | "pipeline"
  | "queue"
  | "schedule"
  | "canary"
  | (string & {});

/** A command in the inbox. */
export interface PublishCommand {
  id: string;
  /** The URL of this command. */
  url: string;
  action: Action | (string & {});
  video_id: Int64;
  workspace_id: Int64;
  state: CommandState;
  /** Why the command finished or waits, as a code, such as `generation_failed`. */
  reason: string | null;
  /** The reason, for people. */
  detail: string | null;
  /** The interface that accepted the command. */
  trigger: Trigger;
  /** The editorial fields that the command changes. */
  edits: { [field: string]: unknown } | null;
  accepted_at: DateTime;
  /** The requested publication time. null: at once. */
  publish_at: DateTime | null;
  /** `publish_at` as a wall-clock time in `time_zone`, if it was requested so. */
  publish_at_local: string | null;
  /** The requested time of an unpublish command. null: a publish command, or at once. */
  unpublish_at: DateTime | null;
  unpublish_at_local: string | null;
  time_zone: string | null;
  fold: Int64 | null;
  /** The deadline. null: the command runs however late. */
  publish_before: DateTime | null;
  expected_revision: Int64 | null;
  expected_etag: string | null;
  /** The URL of the other command of the publication window. */
  counterpart: string | null;
  /** When the command may next be claimed. */
  due_at: DateTime;
  /** Whether `due_at` has come and the command has not ended: a worker takes it as soon as one
   * is free. */
  is_due: boolean;
  /** The first moment after both the requested time and the end of generation. */
  fell_due_at: DateTime | null;
  /** When a worker last claimed the command. */
  claimed_at: DateTime | null;
  /** The number of failed attempts. Waiting for generation is not an attempt. */
  attempts: Int64;
  finished_at: DateTime | null;
  correlation_id: string;
  /** The id of the API key, or of the person at the console, that asked for the command. null:
   * the queue or the command line. */
  requested_by?: string | null;
}

/** One section of a video, without the team's internal notes. */
export interface Section {
  id: Int64;
  uid: string;
  created_at: DateTime;
  updated_at: DateTime;
  deleted_at: DateTime | null;
  is_active: boolean;
  created_by: string | null;
  updated_by: string | null;
  deleted_by: string | null;
  alignment_data: unknown;
  audio_ready: boolean;
  visuals_ready: boolean;
  is_assembling: boolean;
  order: Int64;
  title: string | null;
  /** The section's script: a list of turns. */
  content: unknown;
  /** Seconds. */
  duration: Int64;
  video_file: string | null;
  audio_file: string | null;
  thumbnail: string | null;
  section_summary: string | null;
}

/** The template that the video was made from. */
export interface Template {
  id: Int64;
  name: string;
  description: string | null;
  thumbnail: string | null;
}

/** The video's owner: an IAMUser. The picture is from the first related IAMUserDetail. */
export interface Owner {
  id: Int64;
  email: string;
  full_name: string;
  username: string;
  is_verified: boolean;
  profile_picture: string | null;
}

/** The status of the whole video (the platform's GlobalCreationStatusEnum). */
export type CreationStatus =
  | "not_started"
  | "in_progress"
  | "completed"
  | "failed"
  | (string & {});

/** The stage of generation. */
export type InternalStatus =
  | "planning"
  | "scripting"
  | "audio_sync"
  | "visuals"
  | "rendering"
  | "merging"
  | "completed"
  | "failed"
  | (string & {});

/** A video with every response field of the platform's VideoDetail. */
export interface Video {
  id: Int64;
  sections: Section[];
  template: Template;
  /** The URI of the rendered file. Empty: not rendered yet. */
  video: string;
  owner: Owner;
  owner_username: string;
  /** The metrics of the release, as compact JSON. `{}`: never published. */
  metrics: string;
  tag_names: string[];
  category_name: string;
  subcategory_name: string;
  /** The path of the release, without the domain. Empty: never published. */
  custom_url: string;
  uid: string;
  created_at: DateTime;
  updated_at: DateTime;
  title: string;
  workspace: Int64;
  deleted_at: DateTime | null;
  is_active: boolean;
  created_by: string | null;
  updated_by: string | null;
  deleted_by: string | null;
  description: string | null;
  cover_image: string | null;
  thumbnail: string | null;
  generated_script: string | null;
  /** Percent, 0 to 100. */
  generation_progress: number;
  status: CreationStatus;
  internal_status: InternalStatus;
  is_regenerating: boolean;
  /** Seconds. */
  duration: number | null;
  visibility: Visibility | (string & {});
  is_draft: boolean;
  plan: unknown;
  source_experience: Int64 | null;
  category: Int64 | null;
  subcategory: Int64 | null;
  tags: Int64[];
}

/** The owner in a request. Every field that is set must match the video's owner. */
export interface OwnerReference {
  id?: Int64 | null;
  email?: string | null;
  full_name?: string | null;
  username?: string | null;
  is_verified?: boolean | null;
  profile_picture?: string | null;
}

/** The documented request of the publish endpoint. */
export interface VideoInput {
  description?: string | null;
  visibility?: Visibility;
  category?: Int64 | null;
  subcategory?: Int64 | null;
  /** All tags of the video. null: they are kept, because clients in Java send an empty list
   * for a list that was left out if null is not valid. */
  tags?: Int64[] | null;
  cover_image?: string | null;
  thumbnail?: string | null;
  deleted_at?: DateTime | null;
  is_active?: boolean;
  created_by?: string | null;
  updated_by?: string | null;
  deleted_by?: string | null;
  generated_script?: string | null;
  generation_progress?: number;
  status?: CreationStatus;
  internal_status?: InternalStatus;
  is_regenerating?: boolean;
  duration?: number | null;
  is_draft?: boolean;
  plan?: unknown;
  source_experience?: Int64 | null;
  template: { [field: string]: unknown };
  owner: OwnerReference;
  title: string;
  workspace: Int64;
}

/** The kind of a report. */
export type ReportKind =
  | "progressed"
  | "completed"
  | "failed";

/** The progress of a video's generation. Sent by pipelines that do not share the database. */
export interface GenerationReport {
  /** 1 for the first generation. Add 1 each time the video is generated again, also after a
   * failure. A report of an earlier run sets at most the rendered file, if no later report
   * has. */
  run?: number;
  /** `progressed` only: the stage of the run. Within a run it never goes back. */
  internal_status?: InternalStatus | null;
  /** `progressed` only: percent, 0 to 100. Within a run it never decreases. */
  generation_progress?: number | null;
  /** `completed` only: the URL of the rendered file. null: the current file is kept. */
  video?: string | null;
  /** `completed` only, together with `video`: the length of the file. Seconds. null: the sum
   * of the sections. */
  duration?: number | null;
  /** `failed` only: the cause, for people. */
  detail?: string | null;
  kind: ReportKind;
  /** When it happened. Default: now. It decides between reports of the same kind and run. */
  time?: DateTime | null;
}

/** The state of a video's generation after a report. */
export interface GenerationState {
  video_id: Int64;
  /** Whether the report changed anything. false is not an error: do not send it again. */
  applied: boolean;
  /** Why not: `behind` (a later report was applied before), `repeated` (a duplicate). */
  reason: string | null;
  run: Int64;
  status: string;
  internal_status: string;
  generation_progress: Int64;
  is_regenerating: boolean;
}

/** One error in a request. */
export interface FieldError {
  /** A JSON Pointer into the body (`/commands/3/video_id`), or `query`, `header` or `path` and
   * the parameter's name. */
  pointer: string;
  /** A code for programs, such as `missing`. */
  code: string;
  /** The error, for people. */
  detail: string;
}

/** The order of a list of commands. */
export type CommandOrder =
  | "newest"
  | "due";

export interface PublishOptions {
  /** The revision of the release. 0: never published. */
  expectedRevision?: number | null | undefined;
  /** The Video's ETag, as in `If-Match`: the video has not changed at all. */
  expectedEtag?: string | null | undefined;
  /** When to unpublish. A time in the past means now. */
  unpublishAt?: DateTime | Date | null | undefined;
  /** `unpublishAt` as a wall-clock time in `timeZone`. */
  unpublishAtLocal?: string | null | undefined;
  /** The IANA time zone of the local times, such as `Europe/Berlin`. */
  timeZone?: string | null | undefined;
  /** For a local time that occurs twice: 0 is the first occurrence, 1 the second. */
  fold?: number | null | undefined;
  /** When to publish. null or a time in the past: now. The video is published at this time or
   * at the end of generation, whichever is later. */
  publishAt?: DateTime | Date | null | undefined;
  /** `publishAt` as a wall-clock time in `timeZone`. */
  publishAtLocal?: string | null | undefined;
  /** The deadline. After it the command ends as `expired`. Without a deadline the command runs
   * however late, but waits for generation at most 24 hours. */
  publishBefore?: DateTime | Date | null | undefined;
}

export interface UnpublishOptions {
  /** The revision of the release. 0: never published. */
  expectedRevision?: number | null | undefined;
  /** The Video's ETag, as in `If-Match`: the video has not changed at all. */
  expectedEtag?: string | null | undefined;
  /** When to unpublish. A time in the past means now. */
  unpublishAt?: DateTime | Date | null | undefined;
  /** `unpublishAt` as a wall-clock time in `timeZone`. */
  unpublishAtLocal?: string | null | undefined;
  /** The IANA time zone of the local times, such as `Europe/Berlin`. */
  timeZone?: string | null | undefined;
  /** For a local time that occurs twice: 0 is the first occurrence, 1 the second. */
  fold?: number | null | undefined;
}

export interface RescheduleOptions {
  /** The new time to unpublish. A time in the past means now. */
  unpublishAt?: DateTime | Date | undefined;
  /** `unpublishAt` as a wall-clock time in `timeZone`. */
  unpublishAtLocal?: string | undefined;
  /** The IANA time zone of the local times, such as `Europe/Berlin`. */
  timeZone?: string | null | undefined;
  /** For a local time that occurs twice: 0 is the first occurrence, 1 the second. */
  fold?: number | null | undefined;
  /** The new time to publish. A time in the past means now. */
  publishAt?: DateTime | Date | undefined;
  /** `publishAt` as a wall-clock time in `timeZone`. */
  publishAtLocal?: string | undefined;
  /** The new deadline. null: no deadline. */
  publishBefore?: DateTime | Date | null | undefined;
}

export interface CommandFilter {
  /** Only commands for this video. */
  videoId?: Int64 | null | undefined;
  /** Only commands of this workspace, for keys that see every workspace. */
  workspaceId?: Int64 | null | undefined;
  /** Only commands in this state. */
  state?: CommandState | null | undefined;
  /** Only commands with this action. */
  action?: Action | null | undefined;
  /** Only commands with `dueAt` at this time or later. */
  dueFrom?: DateTime | Date | null | undefined;
  /** Only commands with `dueAt` before this time. */
  dueUntil?: DateTime | Date | null | undefined;
  order?: CommandOrder | undefined;
}

/** The API's name of each option. */
export const OPTION_NAMES: Readonly<Record<string, string>> = {
  action: "action",
  dueFrom: "due_from",
  dueUntil: "due_until",
  expectedEtag: "expected_etag",
  expectedRevision: "expected_revision",
  fold: "fold",
  order: "order",
  publishAt: "publish_at",
  publishAtLocal: "publish_at_local",
  publishBefore: "publish_before",
  state: "state",
  timeZone: "time_zone",
  unpublishAt: "unpublish_at",
  unpublishAtLocal: "unpublish_at_local",
  videoId: "video_id",
  workspaceId: "workspace_id",
};
