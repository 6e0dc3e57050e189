/** The pull feed: events page by page, from a position on, as an async iterator. */

import { call, type Answer, type Connection } from "./connection.ts";
import type { PublisherEvent } from "./events.ts";
import { Problem } from "./problem.ts";
import { isAfter, isPassingForReader, toId, toQuery, type ReadOptions } from "./reading.ts";
import { chooseWait, sleep } from "./retrying.ts";

/** Where a proxy removes `Prefer`, an empty page is answered at once. */
const SHORTEST_POLL_SECONDS = 1;

export interface FeedOptions extends ReadOptions {
  /** The highest number of events in a page, up to 1,000. Default: 100. */
  limit?: number | undefined;
  /** Seconds that a request waits for the next event, up to 60. Default: 30. */
  wait?: number | undefined;
  /** false: end when every event so far was read. Default: wait for more. */
  follow?: boolean | undefined;
}

/** Read the events after `after`, in order; without it, from the oldest stored event.
 *
 * The iteration waits for the next event, and for a server that is unreachable. It throws Gap if
 * events after the position are not stored any more, PositionAhead, and other problems. */
export function readFeed(connection: Connection, options: FeedOptions = {}): FeedReader {
  return new FeedReader(connection, options);
}

/** Iterates over events; continues after its position when it is iterated again. */
export class FeedReader implements AsyncIterable<PublisherEvent> {
  /** Everything up to here that matches was handed over: start a later reader after it. */
  position: string | null;
  /** The last position of all at the last answer: what is after `position` is still to be read. */
  last: string | null = null;

  readonly #connection: Connection;
  readonly #options: FeedOptions;
  readonly #query: URLSearchParams;

  constructor(connection: Connection, options: FeedOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#query = toQuery(options);
    if (options.limit !== undefined) this.#query.set("limit", String(options.limit));
    this.position = options.after === undefined ? null : toId(options.after);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<PublisherEvent, void, undefined> {
    const { signal, follow = true } = this.#options;
    while (!signal?.aborted) {
      const begun = performance.now();
      const answer = await this.#readPage();
      if (answer === null) return;
      const events = JSON.parse(answer.text) as PublisherEvent[];
      for (const event of events) {
        if (signal?.aborted) return;
        this.position = event.sequence;
        yield event;
      }
      this.#goOn(answer.response);
      const hasMore = isAfter(this.last ?? "0", this.position);
      if (events.length > 0 || hasMore) continue;
      if (!follow) return;
      await sleep(Math.max(0, SHORTEST_POLL_SECONDS - (performance.now() - begun) / 1000), signal);
    }
  }

  /** Read the next page, as often as it takes. null: the caller has aborted. */
  async #readPage(): Promise<Answer | null> {
    const { signal, onRetry, wait = 30, follow = true } = this.#options;
    if (this.position !== null) this.#query.set("after", this.position);
    const headers: Record<string, string> = follow ? { Prefer: `wait=${wait}` } : {};
    const request = { path: "/events", query: this.#query, headers };
    for (let failures = 1; ; failures++) {
      try {
        return await call(this.#connection, request, wait, signal);
      } catch (error) {
        if (signal?.aborted) return null;
        if (!isPassingForReader(error)) throw error;
        const seconds = chooseWait(error, failures);
        onRetry?.(error, seconds);
        await sleep(seconds, signal);
        if (signal?.aborted) return null;
      }
    }
  }

  #goOn(response: Response): void {
    const next = response.headers.get("events-next-after");
    if (next === null) {
      const detail = "The header Events-Next-After is missing: a proxy removes it, or CORS hides it.";
      throw new Problem(response.status, { title: "Unexpected answer", detail });
    }
    this.position = next;
    this.last = response.headers.get("events-last") ?? next;
  }
}
