/** The connection to the API: addresses, headers, and one request with a limit of time. */

import { ConnectionLost, toProblem } from "./problem.ts";

/** Where the API is, and with which key to call it. */
export interface Connection {
  /** The API's address, such as `https://publish.example.com`, with or without `/api/v1`. */
  baseUrl: string | URL;
  /** An API key: `publish-worker keys create`. */
  key: string;
  /** Seconds until an attempt without an answer counts as failed, besides `wait`. Default: 30. */
  timeout?: number | undefined;
  /** In place of the global `fetch`. */
  fetch?: typeof fetch | undefined;
}

const TIMEOUT_SECONDS = 30;

export interface Call {
  method?: string;
  path: string;
  query?: URLSearchParams;
  headers?: Record<string, string>;
  body?: string;
}

/** An answer that is not a problem. */
export interface Answer {
  response: Response;
  text: string;
}

/** Send a request once and read its answer; the server may wait for `wait` seconds first.
 *
 * Throws Problem, ConnectionLost, and the reason of `signal`. */
export async function call(
  connection: Connection,
  request: Call,
  wait: number,
  signal: AbortSignal | undefined,
): Promise<Answer> {
  const limit = new Limit(signal);
  try {
    limit.start((connection.timeout ?? TIMEOUT_SECONDS) + wait);
    const response = await open(connection, request, limit);
    const text = await limit.guard(response.text());
    if (!response.ok) throw toProblem(response, text);
    return { response, text };
  } finally {
    limit.close();
  }
}

/** Send a request, and return the answer before its body is read. */
export async function open(connection: Connection, request: Call, limit: Limit): Promise<Response> {
  const { method = "GET", path, query, headers = {}, body } = request;
  const search = query?.size ? `?${query}` : "";
  const url = new URL(`${apiUrl(connection.baseUrl)}${path}${search}`);
  if (!connection.key) throw new TypeError("key is missing: give an API key of `publish-worker keys create`.");
  const all = new Headers({ ...headers, Authorization: `Bearer ${connection.key}` });
  const send = connection.fetch ?? globalThis.fetch;
  // A redirected POST would become a GET, whose answer is another one.
  const options: RequestInit = { method, headers: all, signal: limit.signal, redirect: "manual", cache: "no-store" };
  if (body !== undefined) options.body = body;
  return limit.guard(send(url, options));
}

function apiUrl(baseUrl: string | URL): string {
  // Without types, an environment variable that is not set arrives as undefined.
  if (!/^https?:\/\//i.test(String(baseUrl))) {
    throw new TypeError(`baseUrl is ${baseUrl}: give the API's address, such as https://publish.example.com.`);
  }
  return `${String(baseUrl).replace(/\/+$/, "").replace(/\/api\/v1$/, "")}/api/v1`;
}

/** Ends a request when the caller aborts, when its time is over, or when the block is left. */
export class Limit {
  readonly #controller = new AbortController();
  readonly #caller: AbortSignal | undefined;
  readonly #abort = (): void => this.#controller.abort(this.#caller?.reason);
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(caller: AbortSignal | undefined) {
    this.#caller = caller;
    if (caller?.aborted) this.#abort();
    else caller?.addEventListener("abort", this.#abort, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Allow this number of seconds from now on. */
  start(seconds: number): void {
    this.stop();
    const text = `There was no answer within ${seconds} seconds.`;
    this.#timer = setTimeout(() => this.#controller.abort(new ConnectionLost(text)), seconds * 1000);
  }

  /** Allow any time. */
  stop(): void {
    clearTimeout(this.#timer);
  }

  /** Wait for a part of the answer. A failure is the caller's reason, or a lost connection. */
  async guard<T>(part: Promise<T>): Promise<T> {
    try {
      return await part;
    } catch (error) {
      if (this.signal.aborted) throw this.signal.reason;
      throw new ConnectionLost("The connection failed, or ended in the middle.", { cause: error });
    }
  }

  /** End the request, if it still runs. */
  close(): void {
    this.stop();
    this.#caller?.removeEventListener("abort", this.#abort);
    this.#controller.abort(new ConnectionLost("The request was ended."));
  }
}
