/** Publishing over HTTP: commands that exist once, however often their request had to be sent. */

import { call, type Answer, type Call, type Connection } from "./connection.ts";
import type { Action } from "./events.ts";
import { HEADERS, toBody } from "./options.ts";
import { Problem } from "./problem.ts";
import { toId, type VideoId } from "./reading.ts";
import type {
  CommandFilter,
  GenerationReport,
  GenerationState,
  PublishCommand,
  PublishOptions,
  RescheduleOptions,
  UnpublishOptions,
  Video,
  VideoInput,
} from "./resources.ts";
import { chooseWait, isPassing, sleep } from "./retrying.ts";

const ATTEMPTS = 5;
const LONGEST_PAUSE_SECONDS = 60;
const FIRST_LOOK_SECONDS = 0.05;
const LONGEST_LOOK_SECONDS = 1;
const COMMANDS = "/publish-commands";
const TIMES = /_(at|before)(_local)?$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** How a request is sent. */
export interface SendOptions {
  /** The same key with the same request returns the same commands. Default: a new random one. */
  idempotencyKey?: string | undefined;
  /** Is in every log line and event that the request causes. Default: the server makes one. */
  correlationId?: string | undefined;
  signal?: AbortSignal | undefined;
}

type SignalOption = Pick<SendOptions, "signal">;

/** Which commands are listed, and in which order. */
export interface ListOptions extends Omit<CommandFilter, "videoId">, SignalOption {
  videoId?: VideoId | undefined;
}

/** How one command is sent. */
interface SendOneOptions extends SendOptions {
  /** Seconds to wait until the command is carried out, up to 60. */
  wait?: number | undefined;
}

/** Fields of the video that are changed as it is published: the platform's documented request. */
interface VideoOption {
  video?: VideoInput | undefined;
}

/** One of many commands. */
export interface BulkRequest extends PublishOptions, VideoOption {
  videoId: VideoId;
  /** Default: `publish`. */
  action?: Action | undefined;
}

/** The command was accepted, and is carried out once the video is ready and its time has come. */
export interface Accepted {
  command: PublishCommand;
  video: null;
  /** Whether an earlier request had accepted it. */
  replayed: boolean;
}

/** The command was carried out within `wait`. */
export interface Done {
  command: null;
  video: Video;
  /** Send it as `expectedEtag` to change only this version. */
  etag: string | null;
  replayed: boolean;
}

export type PublishResult = Accepted | Done;

/** Publishes and unpublishes videos.
 *
 * A request that has no answer, or one that passes by itself, such as 429 or 503, is sent up to five
 * times with the same `Idempotency-Key`: it makes one command. Throws Problem, ConnectionLost, and
 * the signal's reason. */
export class Publisher {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Publish a video: now, at a time, or for a time. */
  publish(
    videoId: VideoId,
    options: PublishOptions & VideoOption & SendOneOptions = {},
  ): Promise<PublishResult> {
    return this.#send("publish", videoId, options);
  }

  /** Make a video a draft again: now, or at a time. */
  unpublish(videoId: VideoId, options: UnpublishOptions & SendOneOptions = {}): Promise<PublishResult> {
    return this.#send("unpublish", videoId, options);
  }

  /** Send up to 1,000 commands. Either all of them are accepted or none. */
  async enqueue(requests: readonly BulkRequest[], options: SendOptions = {}): Promise<PublishCommand[]> {
    const commands = requests.map(({ videoId, action, video, ...times }) => {
      const id = Number(toId(videoId));
      if (!Number.isSafeInteger(id)) throw new RangeError(`JSON has no exact number for ${videoId}: use publish().`);
      return { video_id: id, action, video, ...toBody(times) };
    });
    const answer = await this.#post(COMMANDS, { commands }, options);
    return (JSON.parse(answer.text) as { commands: PublishCommand[] }).commands;
  }

  /** Read a command: its state, and why it waits or has ended. */
  async readCommand(id: string, options: SignalOption = {}): Promise<PublishCommand> {
    return this.#change({ path: commandPath(id) }, options);
  }

  /** Return a command when it has ended, or as it is after `seconds` (default: 60). */
  async awaitOutcome(id: string, options: SignalOption & { seconds?: number | undefined } = {}): Promise<PublishCommand> {
    const until = performance.now() + (options.seconds ?? 60) * 1000;
    for (let pause = FIRST_LOOK_SECONDS; ; pause = Math.min(pause * 1.5, LONGEST_LOOK_SECONDS)) {
      const command = await this.readCommand(id, options);
      const left = (until - performance.now()) / 1000;
      if (command.finished_at !== null || left <= 0) return command;
      await sleep(Math.min(pause, left), options.signal);
      options.signal?.throwIfAborted();
    }
  }

  /** Give a command another time or deadline; what is left out stays. A time is that of its action.
   *
   * One that has been carried out at that time since, as the answer was lost, is returned. */
  async reschedule(id: string, change: RescheduleOptions & SignalOption): Promise<PublishCommand> {
    const { signal, ...times } = change;
    const headers = { "Content-Type": "application/json" };
    const asked = toBody(times);
    const request = { method: "PATCH", path: commandPath(id), headers, body: JSON.stringify(asked) };
    const { finished_at } = await this.readCommand(id, { signal });
    try {
      return await this.#change(request, { signal });
    } catch (error) {
      if (!(error instanceof Problem && error.type === "/problems/command-ended")) throw error;
      // An answer may have been lost, and the command carried out since.
      const command = await this.readCommand(id, { signal });
      if (finished_at === null && hasTimes(command, asked)) return command;
      throw error;
    }
  }

  /** Cancel a command that is not carried out yet. */
  async cancel(id: string, options: SignalOption = {}): Promise<PublishCommand> {
    return this.#change({ method: "DELETE", path: commandPath(id) }, options);
  }

  /** Give a failed command new attempts. */
  async retry(id: string, options: SignalOption = {}): Promise<PublishCommand> {
    const { state } = await this.readCommand(id, options);
    try {
      return await this.#change({ method: "POST", path: `${commandPath(id)}/retry` }, options);
    } catch (error) {
      if (!(error instanceof Problem && error.type === "/problems/command-not-failed")) throw error;
      // An answer may have been lost, and the command carried out since.
      const command = await this.readCommand(id, options);
      if (command.finished_at === null || state === "failed") return command;
      throw error;
    }
  }

  /** List commands, page by page as they are taken. */
  async *listCommands(options: ListOptions = {}): AsyncGenerator<PublishCommand, void, undefined> {
    const { signal, ...filter } = options;
    let query: URLSearchParams | null = toQuery(filter);
    while (query !== null) {
      const answer: Answer = await this.#call({ path: COMMANDS, query }, signal);
      const page = JSON.parse(answer.text) as { commands: PublishCommand[]; next: string | null };
      yield* page.commands;
      query = page.next ? new URL(page.next).searchParams : null; // the API's own host may be another one
    }
  }

  /** Report on a video's generation. A report that arrives twice or late does no harm. */
  async report(videoId: VideoId, report: GenerationReport, options: SignalOption = {}): Promise<GenerationState> {
    const answer = await this.#post(`/videos/${toId(videoId)}/generation`, report, options);
    return JSON.parse(answer.text) as GenerationState;
  }

  async #send(
    action: Action,
    videoId: VideoId,
    options: PublishOptions & VideoOption & SendOneOptions,
  ): Promise<PublishResult> {
    const { idempotencyKey, correlationId, signal, wait, video, ...times } = options;
    const body = { ...video, ...toBody(times) };
    const path = `/videos/${toId(videoId)}/${action}/`;
    const answer = await this.#post(path, body, { idempotencyKey, correlationId, signal }, wait);
    return toResult(answer);
  }

  async #change(request: Call, { signal }: SignalOption): Promise<PublishCommand> {
    return JSON.parse((await this.#call(request, signal)).text) as PublishCommand;
  }

  #post(path: string, body: object, options: SendOptions, wait?: number): Promise<Answer> {
    const headers: Record<string, string> = {
      "Content-Type": "application/json",
      [HEADERS.idempotencyKey]: options.idempotencyKey ?? newKey(),
    };
    if (options.correlationId !== undefined) headers[HEADERS.correlationId] = options.correlationId;
    if (wait !== undefined) headers["Prefer"] = `wait=${wait}`;
    const request = { method: "POST", path, headers, body: JSON.stringify(body) };
    return this.#call(request, options.signal, wait);
  }

  /** Send a request until it is answered, or has failed five times. */
  async #call(request: Call, signal: AbortSignal | undefined, wait = 0): Promise<Answer> {
    for (let failures = 1; ; failures++) {
      try {
        return await call(this.#connection, request, wait, signal);
      } catch (error) {
        if (signal?.aborted || failures === ATTEMPTS || !isPassing(error)) throw error;
        const pause = chooseWait(error, failures);
        if (pause > LONGEST_PAUSE_SECONDS) throw error;
        await sleep(pause, signal);
        signal?.throwIfAborted();
        // The operator may have set a wait for everyone, which is longer than our patience.
        if (request.headers) request.headers["Prefer"] ??= "respond-async";
      }
    }
  }
}

/** A random key. `crypto.randomUUID` is not there in pages without TLS. */
function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Return the path of a command. Throws RangeError: a URL with `..` would be another one. */
function commandPath(id: string): string {
  if (!UUID.test(id)) throw new RangeError(`${id} is not the id of a command, a UUID: nothing was sent.`);
  return `${COMMANDS}/${id}`;
}

/** Whether a command has the times of a change, given by the API's names. */
function hasTimes(command: PublishCommand, asked: Record<string, unknown>): boolean {
  const shown: Record<string, unknown> = { ...command };
  return Object.entries(asked).every(([name, value]) => toComparable(name, value) === toComparable(name, shown[name]));
}

/** Return a time in milliseconds, as it may be written in several ways; anything else as it is. */
function toComparable(name: string, value: unknown): unknown {
  if (!TIMES.test(name) || !(typeof value === "string" || value instanceof Date)) return value;
  return new Date(name.endsWith("_local") ? `${value}Z` : value).getTime();
}

/** Return a filter as the query of a URL. */
function toQuery(filter: Omit<ListOptions, "signal">): URLSearchParams {
  const { videoId, ...rest } = filter;
  const fields: Record<string, unknown> = { ...toBody(rest), video_id: videoId === undefined ? null : toId(videoId) };
  const given = Object.entries(fields).filter(([, value]) => value !== null);
  return new URLSearchParams(given.map(([name, value]) => [name, value instanceof Date ? value.toISOString() : String(value)]));
}

function toResult({ response, text }: Answer): PublishResult {
  const replayed = response.headers.get("idempotency-replayed") === "true";
  if (response.status === 202) {
    return { command: JSON.parse(text) as PublishCommand, video: null, replayed };
  }
  const etag = response.headers.get("etag");
  return { command: null, video: JSON.parse(text) as Video, etag, replayed };
}
