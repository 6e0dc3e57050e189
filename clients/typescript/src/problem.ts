/** Errors: problems that the API answers with (RFC 9457), and connections that are lost. */

import { nameOptions } from "./options.ts";
import type { FieldError } from "./resources.ts";

interface ProblemDocument {
  type?: string;
  title?: string;
  status?: number;
  detail?: string;
  errors?: FieldError[];
  command?: string;
  correlation_id?: string;
  resume_after?: number;
}

/** An answer that is an error: what is wrong, what was kept and what to do.
 *
 * `message` names the options as the caller does; `detail` and `errors` are as the API sent them. */
export class Problem extends Error {
  override readonly name: string = "Problem";
  /** The HTTP status. */
  readonly status: number;
  /** For programs, such as `/problems/video-changed`. `about:blank`: a proxy's answer. */
  readonly type: string;
  readonly title: string;
  /** For people. */
  readonly detail: string;
  /** One for each wrong field of the request. */
  readonly errors: readonly FieldError[];
  /** The URL of the command concerned. */
  readonly command: string | null;
  /** Search the server's logs for it. */
  readonly correlationId: string | null;
  /** Seconds until another attempt may succeed, as the server says. */
  readonly retryAfter: number | null;

  constructor(status: number, document: ProblemDocument, retryAfter: number | null = null) {
    const title = document.title ?? "Unexpected answer";
    super(nameOptions(`${status} ${title}: ${document.detail ?? ""}`));
    this.status = status;
    this.type = document.type ?? "about:blank";
    this.title = title;
    this.detail = document.detail ?? "";
    this.errors = document.errors ?? [];
    this.command = document.command ?? null;
    this.correlationId = document.correlation_id ?? null;
    this.retryAfter = retryAfter;
  }
}

/** Events after the position are not stored any more. Read the videos, then go on at `resumeAfter`. */
export class Gap extends Problem {
  override readonly name = "Gap";
  /** Everything after this position can be read. null: the server is older than this client. */
  readonly resumeAfter: string | null;

  constructor(status: number, document: ProblemDocument) {
    super(status, document);
    this.resumeAfter = document.resume_after?.toString() ?? null;
  }
}

/** The position was never given to an event: of another installation, or the database was restored. */
export class PositionAhead extends Problem {
  override readonly name = "PositionAhead";
  /** The last position that was given. null: the server is older than this client. */
  readonly resumeAfter: string | null;

  constructor(status: number, document: ProblemDocument) {
    super(status, document);
    this.resumeAfter = document.resume_after?.toString() ?? null;
  }
}

/** There was no answer, or it ended in the middle. */
export class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
}

/** Return the problem that an answer is; its body is `text`. */
export function toProblem(response: Response, text: string): Problem {
  const { status, headers } = response;
  const document = parseProblem(headers.get("content-type"), text);
  if (document === null) return foreignProblem(response);
  if (document.type === "/problems/position-gone") return new Gap(status, document);
  if (document.type === "/problems/position-ahead") return new PositionAhead(status, document);
  return new Problem(status, document, parseRetryAfter(headers.get("retry-after"), Date.now()));
}

/** Return the seconds of `Retry-After`, which is a number or a date. null: absent or unreadable. */
export function parseRetryAfter(value: string | null, now: number): number | null {
  if (value === null) return null;
  if (/^\s*\d+\s*$/.test(value)) return Number(value);
  const date = Date.parse(value);
  return Number.isNaN(date) ? null : Math.max(0, (date - now) / 1000);
}

function parseProblem(contentType: string | null, text: string): ProblemDocument | null {
  if (!contentType?.startsWith("application/problem+json")) return null;
  try {
    return JSON.parse(text) as ProblemDocument;
  } catch {
    return null;
  }
}

/** Of a proxy, or of another server. */
function foreignProblem(response: Response): Problem {
  const place = response.headers.get("location");
  const isRedirect = response.type === "opaqueredirect" || (response.status >= 300 && response.status < 400);
  const detail = isRedirect
    ? `The server redirects${place ? ` to ${place}` : ""}; nothing was done. Set baseUrl to where the API is.`
    : `The answer is not one of publish-worker (${response.headers.get("content-type") ?? "no content type"}).`;
  const retryAfter = parseRetryAfter(response.headers.get("retry-after"), Date.now());
  return new Problem(response.status, { title: response.statusText || "Unexpected answer", detail }, retryAfter);
}
