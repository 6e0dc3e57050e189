/** The pull feed, against a real API. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Gap, isKnown, PositionAhead, Problem, Publisher, readFeed } from "../src/index.ts";
import { startProxy } from "./support/proxy.ts";
import { API_URL, forget, lastPosition, makeVideos, positions, publisher, range, record, take } from "./support/run.ts";

test("events come page by page, in order, from a position on", async () => {
  const first = await lastPosition() ?? 0;
  await record(7);
  const reader = readFeed(publisher, { after: first, limit: 3, follow: false });
  const events = [];
  for await (const event of reader) events.push(event);
  const last = await lastPosition();
  assert.deepEqual(positions(events), range(first + 1, last));
  assert.deepEqual([reader.position, reader.last], [String(last), String(last)]);
});

test("data is typed by the type of the event", async () => {
  const [video] = await record(1);
  const [event] = await take(readFeed(publisher, { videoId: video!, types: ["video.published"] }), 1);
  assert.ok(event?.type === "video.published" && isKnown(event));
  assert.equal(event.data.video_id, video);
  assert.equal(event.data.owner.username, "ada");
  assert.equal(event.data.asked_for, null);
  assert.equal(event.subject, String(video));
  assert.ok(!isKnown({ ...event, dataschema: event.dataschema.replace(/1$/, "2") }), "a later version");
});

test("the reader waits for the next event", async () => {
  const [video] = await makeVideos(1);
  const reader = readFeed(publisher, { videoId: video!, after: await lastPosition() });
  const taken = take(reader, 1);
  await new Publisher(publisher).publish(video!);
  const [event] = await taken;
  assert.equal(event?.type, "video.published");
});

test("it continues at its position when it is iterated again", async () => {
  const after = await lastPosition();
  await record(4);
  const reader = readFeed(publisher, { after });
  const first = await take(reader, 2);
  const rest = await take(reader, 2);
  assert.deepEqual(positions([...first, ...rest]), range(after + 1, after + 4));
});

test("it outlives lost connections, cut answers and errors of a server", async () => {
  const after = await lastPosition();
  await record(5);
  const error = "HTTP/1.1 500 Broken\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  await using proxy = await startProxy(API_URL, (nth) =>
    nth === 1 ? { kind: "cut", after: 900 } : nth === 2 ? { kind: "answer", text: error } : { kind: "none" });
  const troubles: Error[] = [];
  const reader = readFeed({ ...publisher, baseUrl: proxy.url }, { after, onRetry: (each) => troubles.push(each) });
  assert.deepEqual(positions(await take(reader, 5)), range(after + 1, after + 5));
  assert.deepEqual(troubles.map((each) => each.name), ["ConnectionLost", "Problem"]);
});

test("where a proxy removes Prefer, the reader asks once a second", async () => {
  let asked = 0;
  const impatient: typeof fetch = (url, options) => {
    asked++;
    const headers = new Headers(options?.headers);
    headers.delete("prefer");
    return fetch(url, { ...options, headers });
  };
  const signal = AbortSignal.timeout(1_500);
  const after = 10 ** 15; // refused below, so a real position is taken
  await assert.rejects(take(readFeed(publisher, { after }), 1), PositionAhead);
  await take(readFeed({ ...publisher, fetch: impatient }, { videoId: 999_999_999, after: await lastPosition(), signal }), 1);
  assert.ok(asked <= 4, `${asked} requests`);
});

test("the signal ends the iteration without an error, also while it waits", async () => {
  const signal = AbortSignal.timeout(100);
  const events = await take(readFeed(publisher, { videoId: 999_999_999, after: await lastPosition(), signal }), 1);
  assert.deepEqual(events, []);
});

test("a key that is not valid is a problem, not a reason to try again", async () => {
  const reader = readFeed({ ...publisher, key: "pw_wrong" });
  await assert.rejects(take(reader, 1), (error) => error instanceof Problem && error.status === 401);
});

test("a position of another installation is refused with the last one of this", async () => {
  const ahead = await take(readFeed(publisher, { after: 10n ** 17n }), 1).catch((error: unknown) => error);
  assert.ok(ahead instanceof PositionAhead);
  assert.ok(Number(ahead.resumeAfter) >= (await lastPosition()) - 1);
});

test("events that are not stored any more are a gap, which says where to go on", async () => {
  await record(3);
  const until = (await lastPosition()) - 1;
  await forget(until);
  const gap = await take(readFeed(publisher, { after: until - 2 }), 1).catch((error: unknown) => error);
  assert.ok(gap instanceof Gap);
  assert.equal(gap.status, 410);
  assert.equal(gap.resumeAfter, String(until));
  const [next] = await take(readFeed(publisher, { after: gap.resumeAfter! }), 1);
  assert.equal(next?.sequence, String(until + 1));
});
