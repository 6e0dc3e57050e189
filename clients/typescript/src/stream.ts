/** The live stream: events as they happen (Server-Sent Events), as an async iterator. */

import { Limit, open, type Connection } from "./connection.ts";
import { EventStreamParser, type Message } from "./event_stream.ts";
import type { Dropped, PublisherEvent } from "./events.ts";
import { ConnectionLost, Problem, toProblem } from "./problem.ts";
import { isAfter, isPassingForReader, toId, toQuery, type ReadOptions } from "./reading.ts";
import { chooseWait, sleep } from "./retrying.ts";

const RETRY_SECONDS = 1;
const SILENCE_SECONDS = 45;

export interface StreamOptions extends ReadOptions {
  /** Seconds without a byte after which the connection counts as dead. Default: 45, which is three
   * of the server's heartbeats. */
  silence?: number | undefined;
}

/** Read the events after `after` as they happen; without it, those from now on.
 *
 * After an interruption the reader connects again and continues at its position: no event is missed
 * and none comes twice. It throws Gap if events after the position are not stored any more,
 * PositionAhead, and other problems, such as 401. */
export function readStream(connection: Connection, options: StreamOptions = {}): StreamReader {
  return new StreamReader(connection, options);
}

/** Iterates over events; continues after its position when it is iterated again. */
export class StreamReader implements AsyncIterable<PublisherEvent> {
  /** Everything up to here that matches was handed over. null: not connected yet, without `after`. */
  position: string | null;

  readonly #connection: Connection;
  readonly #options: StreamOptions;
  #retrySeconds = RETRY_SECONDS;
  #failures = 0;

  constructor(connection: Connection, options: StreamOptions) {
    this.#connection = connection;
    this.#options = options;
    this.position = options.after === undefined ? null : toId(options.after);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<PublisherEvent, void, undefined> {
    const { signal, onRetry } = this.#options;
    while (!signal?.aborted) {
      let ended: Error = new ConnectionLost("The server ended the stream.");
      try {
        yield* this.#readConnection();
      } catch (error) {
        if (signal?.aborted) return;
        if (!isPassingForReader(error)) throw error;
        ended = error;
      }
      this.#failures++;
      const seconds = chooseWait(ended, this.#failures, this.#retrySeconds);
      onRetry?.(ended, seconds);
      await sleep(seconds, signal);
    }
  }

  /** Read until this connection ends. */
  async *#readConnection(): AsyncGenerator<PublisherEvent, void, undefined> {
    const limit = new Limit(this.#options.signal);
    try {
      limit.start(this.#silence);
      const response = await this.#open(limit);
      const parser = new EventStreamParser(this.position ?? "");
      for await (const bytes of this.#readBytes(response, limit)) {
        for (const message of parser.push(bytes)) {
          if (parser.retry !== null) this.#retrySeconds = parser.retry / 1000;
          const event = this.#take(message);
          if (event === null) continue;
          this.#failures = 0;
          yield event;
          if (limit.signal.aborted) return;
        }
      }
    } finally {
      limit.close();
    }
  }

  async #open(limit: Limit): Promise<Response> {
    const query = toQuery(this.#options);
    const headers: Record<string, string> = { Accept: "text/event-stream" };
    if (this.position !== null) {
      query.set("after", this.position);
      headers["Last-Event-ID"] = this.position;
    }
    const response = await open(this.#connection, { path: "/events/stream", query, headers }, limit);
    if (!response.ok) throw toProblem(response, await limit.guard(response.text()));
    const kind = response.headers.get("content-type");
    if (kind?.startsWith("text/event-stream")) return response;
    const detail = `The answer is not an event stream (${kind ?? "no content type"}).`;
    throw new Problem(response.status, { title: "Unexpected answer", detail });
  }

  /** The body, piece by piece. Time counts only while the next piece is waited for. */
  async *#readBytes(response: Response, limit: Limit): AsyncGenerator<Uint8Array, void, undefined> {
    const reader = response.body!.getReader();
    for (;;) {
      limit.start(this.#silence);
      const { done, value } = await limit.guard(reader.read());
      limit.stop();
      if (done) return;
      yield value;
    }
  }

  get #silence(): number {
    return this.#options.silence ?? SILENCE_SECONDS;
  }

  /** The event that is next; null for a heartbeat, and for an event that was handed over before. */
  #take(message: Message): PublisherEvent | null {
    const before = this.position;
    if (message.data === null) {
      if (message.lastEventId !== "") this.position = message.lastEventId;
      return null;
    }
    if (message.type === "dropped") {
      this.position = String((JSON.parse(message.data) as Dropped).resume_after);
      return null; // the server ends the stream; the next connection gets the reason as a problem
    }
    const event = JSON.parse(message.data) as PublisherEvent;
    if (!isAfter(event.sequence, before)) return null;
    this.position = event.sequence;
    return event;
  }
}
