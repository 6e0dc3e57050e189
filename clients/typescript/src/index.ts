/** Publish videos, read their events and verify webhooks of publish-worker. */

export type { Connection } from "./connection.ts";
export * from "./events.ts";
export { FeedReader, readFeed, type FeedOptions } from "./feed.ts";
export { isKnown } from "./known.ts";
export { ConnectionLost, Gap, PositionAhead, Problem } from "./problem.ts";
export {
  Publisher,
  type Accepted,
  type BulkRequest,
  type Done,
  type ListOptions,
  type PublishResult,
  type SendOptions,
} from "./publisher.ts";
export type { Position, ReadOptions, VideoId } from "./reading.ts";
export type {
  CommandFilter,
  CommandState,
  FieldError,
  GenerationReport,
  GenerationState,
  PublishCommand,
  PublishOptions,
  RescheduleOptions,
  UnpublishOptions,
  Video,
  VideoInput,
} from "./resources.ts";
export { readStream, StreamReader, type StreamOptions } from "./stream.ts";
export { verifyWebhook, WebhookRefused, type WebhookHeaders, type VerifyOptions } from "./webhook.ts";
