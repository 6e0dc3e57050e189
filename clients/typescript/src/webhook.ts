/** Verifies the signature of a webhook, as Standard Webhooks specifies it. */

import type { WebhookEvent } from "./events.ts";

const TOLERANCE_SECONDS = 300;
const PREFIX = "whsec_";

/** Headers of fetch, or of Node's `request.headers`. */
export type WebhookHeaders = Headers | { readonly [name: string]: string | readonly string[] | undefined };

export interface VerifyOptions {
  /** How far the timestamp may be from now. Default: 300 seconds. It limits replays. */
  tolerance?: number | undefined;
  /** The time in milliseconds. Default: now. */
  now?: number | undefined;
}

/** The request is not from publish-worker, or too old: answer 400, and do nothing. */
export class WebhookRefused extends Error {
  override readonly name = "WebhookRefused";
}

/** Return the event of a webhook whose signature is valid. Throws WebhookRefused.
 *
 * `body` is the body as it was received, before any JSON parser: bytes, or their text. `secret` is the
 * endpoint's `whsec_…`; during a rotation give both. Deliveries are repeated until one is answered
 * with 2xx, so use `event.id` to ignore duplicates. */
export async function verifyWebhook(
  body: Uint8Array | ArrayBuffer | string,
  headers: WebhookHeaders,
  secret: string | readonly string[],
  options: VerifyOptions = {},
): Promise<WebhookEvent> {
  const secrets = typeof secret === "string" ? [secret] : secret;
  const keys = await Promise.all(secrets.map(importSecret));
  const id = readHeader(headers, "webhook-id");
  const timestamp = readHeader(headers, "webhook-timestamp");
  checkTimestamp(timestamp, options);
  const bytes = toBytes(body);
  const signed = join(new TextEncoder().encode(`${id}.${timestamp}.`), bytes);
  const signatures = readSignatures(readHeader(headers, "webhook-signature"));
  if (!(await isSigned(signed, signatures, keys))) {
    throw new WebhookRefused("No signature is valid: check the secret, and that the body is unchanged.");
  }
  return JSON.parse(new TextDecoder().decode(bytes)) as WebhookEvent;
}

async function importSecret(secret: string): Promise<CryptoKey> {
  let key: Uint8Array<ArrayBuffer>;
  try {
    key = fromBase64(secret.startsWith(PREFIX) ? secret.slice(PREFIX.length) : secret);
  } catch {
    throw new TypeError("The webhook's secret is not valid: it is the text whsec_… of the endpoint.");
  }
  if (key.length === 0) throw new TypeError("The webhook's secret is empty.");
  return crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
}

function readHeader(headers: WebhookHeaders, name: string): string {
  const value = headers instanceof Headers ? headers.get(name) : findHeader(headers, name);
  if (typeof value === "string" && value !== "") return value;
  throw new WebhookRefused(`The header ${name} is missing, or is there more than once.`);
}

function findHeader(headers: { readonly [name: string]: unknown }, name: string): unknown {
  const found = Object.keys(headers).find((each) => each.toLowerCase() === name);
  return found === undefined ? undefined : headers[found];
}

function checkTimestamp(timestamp: string, { tolerance = TOLERANCE_SECONDS, now = Date.now() }: VerifyOptions): void {
  if (!/^\d{1,12}$/.test(timestamp)) throw new WebhookRefused("The header webhook-timestamp is not a time.");
  const distance = Math.abs(now / 1000 - Number(timestamp));
  if (distance > tolerance) {
    throw new WebhookRefused(`The webhook was signed ${Math.round(distance)} seconds from now: a replay, or a clock is wrong.`);
  }
}

/** The signatures of version 1; a later version may come beside them. */
function readSignatures(header: string): Uint8Array<ArrayBuffer>[] {
  const signatures: Uint8Array<ArrayBuffer>[] = [];
  for (const each of header.split(" ")) {
    if (!each.startsWith("v1,")) continue;
    try {
      signatures.push(fromBase64(each.slice(3)));
    } catch {
      // not a signature
    }
  }
  return signatures;
}

/** Whether one of the keys made one of the signatures. `verify` compares in constant time. */
async function isSigned(
  signed: Uint8Array<ArrayBuffer>,
  signatures: readonly Uint8Array<ArrayBuffer>[],
  keys: readonly CryptoKey[],
): Promise<boolean> {
  for (const key of keys) {
    for (const signature of signatures) {
      if (await crypto.subtle.verify("HMAC", key, signature, signed)) return true;
    }
  }
  return false;
}

function toBytes(body: Uint8Array | ArrayBuffer | string): Uint8Array {
  if (typeof body === "string") return new TextEncoder().encode(body);
  return body instanceof Uint8Array ? body : new Uint8Array(body);
}

function join(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(first.length + second.length);
  joined.set(first);
  joined.set(second, first.length);
  return joined;
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
