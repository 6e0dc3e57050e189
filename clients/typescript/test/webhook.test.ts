/** Signatures of webhooks: what is accepted, and what is refused. */

import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { test } from "node:test";

import { isKnown, verifyWebhook, WebhookRefused } from "../src/index.ts";

const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID = "01a20cb5-5c38-747c-a12c-8c77571ea6d5";
const NOW = 1_800_000_000_000;
const BODY = JSON.stringify({ id: ID, type: "video.exploded", data: { title: "Zürich 東京 🎬" } });

function sign(body: string, secret = SECRET, at = NOW / 1000): Record<string, string> {
  const key = Buffer.from(secret.replace("whsec_", ""), "base64");
  const signature = createHmac("sha256", key).update(`${ID}.${at}.${body}`).digest("base64");
  return { "webhook-id": ID, "webhook-timestamp": String(at), "webhook-signature": `v1,${signature}` };
}

const newSecret = (): string => `whsec_${randomBytes(32).toString("base64")}`;
const refused = (reason: RegExp) => (error: unknown): boolean => error instanceof WebhookRefused && reason.test(error.message);

test("the example of the Standard Webhooks specification is valid", async () => {
  const headers = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
  };
  await verifyWebhook('{"test": 2432232314}', headers, SECRET, { now: 1_614_265_330_000 });
});

test("the event is returned, from text, bytes or a buffer, with headers of fetch or of Node", async () => {
  const bytes = new TextEncoder().encode(BODY);
  const loud = Object.fromEntries(Object.entries(sign(BODY)).map(([name, value]) => [name.toUpperCase(), value]));
  for (const body of [BODY, bytes, bytes.buffer, Buffer.from(BODY)]) {
    for (const headers of [sign(BODY), new Headers(sign(BODY)), loud]) {
      const event = await verifyWebhook(body, headers, SECRET, { now: NOW });
      assert.equal(event.id, ID);
      assert.ok(!isKnown(event), "a type that was added later");
    }
  }
});

test("another secret, body, id or time is refused", async () => {
  const signed = sign(BODY);
  const wrong = refused(/No signature is valid/);
  await assert.rejects(verifyWebhook(BODY, signed, newSecret(), { now: NOW }), wrong);
  await assert.rejects(verifyWebhook(`${BODY} `, signed, SECRET, { now: NOW }), wrong);
  await assert.rejects(verifyWebhook(BODY, { ...signed, "webhook-id": "other" }, SECRET, { now: NOW }), wrong);
  const later = { ...signed, "webhook-timestamp": String(NOW / 1000 + 1) };
  await assert.rejects(verifyWebhook(BODY, later, SECRET, { now: NOW }), wrong);
});

test("a replayed request is refused after five minutes, and one from the future", async () => {
  for (const distance of [-301, 301]) {
    const headers = sign(BODY, SECRET, NOW / 1000 + distance);
    await assert.rejects(verifyWebhook(BODY, headers, SECRET, { now: NOW }), refused(/301 seconds from now/));
    await verifyWebhook(BODY, headers, SECRET, { now: NOW, tolerance: 302 });
  }
  await assert.rejects(verifyWebhook(BODY, sign(BODY), SECRET), refused(/a replay/), "the default is now");
});

test("during a rotation one of several signatures and one of several secrets is enough", async () => {
  const [before, after] = [newSecret(), newSecret()];
  const both = `${sign(BODY, after)["webhook-signature"]} v2,unknown v1,%% ${sign(BODY, before)["webhook-signature"]}`;
  const headers = { ...sign(BODY), "webhook-signature": both };
  for (const secret of [before, after, [newSecret(), before]]) await verifyWebhook(BODY, headers, secret, { now: NOW });
  await assert.rejects(verifyWebhook(BODY, headers, [newSecret(), newSecret()], { now: NOW }), refused(/No signature/));
});

test("a signature without its version, cut or empty is refused", async () => {
  const signature = sign(BODY)["webhook-signature"] ?? "";
  for (const bad of [signature.slice(3), signature.slice(0, -4), "v1,", "v1a,x", "v1", " "]) {
    const headers = { ...sign(BODY), "webhook-signature": bad };
    await assert.rejects(verifyWebhook(BODY, headers, SECRET, { now: NOW }), WebhookRefused, bad);
  }
});

test("a header that is missing, doubled or not a time is refused", async () => {
  for (const name of ["webhook-id", "webhook-timestamp", "webhook-signature"]) {
    const { [name]: _, ...rest } = sign(BODY);
    await assert.rejects(verifyWebhook(BODY, rest, SECRET, { now: NOW }), refused(new RegExp(name)));
    await assert.rejects(verifyWebhook(BODY, { ...rest, [name]: ["1", "2"] }, SECRET, { now: NOW }), refused(new RegExp(name)));
  }
  for (const time of ["now", "-1", "1e3", "NaN", " 1"]) {
    await assert.rejects(verifyWebhook(BODY, { ...sign(BODY), "webhook-timestamp": time }, SECRET, { now: NOW }), refused(/not a time/));
  }
});

test("a secret that is not valid is an error of the program, not a refused request", async () => {
  for (const secret of ["whsec_%%%", "whsec_", ""]) {
    await assert.rejects(verifyWebhook(BODY, sign(BODY), secret, { now: NOW }), TypeError);
  }
});
