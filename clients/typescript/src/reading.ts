/** What the feed and the stream have in common: from where to read, and which events. */

import type { KnownEvent } from "./events.ts";
import { Problem } from "./problem.ts";
import { isPassing } from "./retrying.ts";

/** A position: of an event, its `sequence`. */
export type Position = string | number | bigint;

/** A video's id. */
export type VideoId = string | number | bigint;

/** From where to read, which events, and until when. */
export interface ReadOptions {
  /** The last position that was handled: the events after it follow. */
  after?: Position | undefined;
  /** Only these types. Default: all. */
  types?: readonly (KnownEvent["type"] | (string & {}))[] | undefined;
  /** Only events about this video. */
  videoId?: VideoId | undefined;
  /** Ends the iteration, without an error. */
  signal?: AbortSignal | undefined;
  /** Is called before each wait after a failure that passes by itself. */
  onRetry?: ((error: Error, seconds: number) => void) | undefined;
}

/** Return the filters as parameters of the query. */
export function toQuery(options: ReadOptions): URLSearchParams {
  const query = new URLSearchParams();
  for (const type of options.types ?? []) query.append("type", type);
  if (options.videoId !== undefined) query.set("video_id", toId(options.videoId));
  return query;
}

/** Return an id or a position as text. Throws RangeError, also for a number that is not exact. */
export function toId(id: string | number | bigint): string {
  const text = String(id);
  if (!/^\d{1,19}$/.test(text) || (typeof id === "number" && !Number.isSafeInteger(id))) {
    throw new RangeError(`${text} is not an id or position: give a whole number, from 2^53 on as text or bigint.`);
  }
  return text;
}

/** Whether a position is after another one. */
export function isAfter(position: string, other: string | null): boolean {
  return other === null || BigInt(position) > BigInt(other);
}

/** Whether a reader waits and tries again: a reader outlives a fault of the server. */
export function isPassingForReader(error: unknown): error is Error {
  return isPassing(error) || (error instanceof Problem && error.status >= 500);
}
