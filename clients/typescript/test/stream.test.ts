/** The live stream, against a real API, through networks that fail. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Problem, Publisher, readStream } from "../src/index.ts";
import { startProxy, type Fault } from "./support/proxy.ts";
import { API_URL, lastPosition, makeVideos, positions, publisher, range, record, take } from "./support/run.ts";

test("events come as they happen", async () => {
  const [video] = await makeVideos(1);
  const reader = readStream(publisher, { videoId: video!, after: await lastPosition() });
  const taken = take(reader, 1);
  await new Publisher(publisher).publish(video!);
  const [event] = await taken;
  assert.ok(event?.type === "video.published");
  assert.equal(event.data.video_id, video);
  assert.equal(reader.position, event.sequence);
});

test("wherever connections are cut, no event is missed and none comes twice", async () => {
  const after = await lastPosition();
  await record(12);
  // The head of an answer has about 250 bytes, an event about 1,500: cut within the first event, the
  // first block and the head, before any byte, and after some events.
  const cuts = [1_000, 300, 260, 100, 0, 2_345, 5_000, 5_001, 9_999];
  const choose = (nth: number): Fault => (nth <= cuts.length ? { kind: "cut", after: cuts[nth - 1]! } : { kind: "none" });
  await using proxy = await startProxy(API_URL, choose);
  const connection = { ...publisher, baseUrl: proxy.url };
  const events = await take(readStream(connection, { after }), 12);
  assert.deepEqual(positions(events), range(after + 1, after + 12));
  assert.ok(proxy.connections > 5, `${proxy.connections} connections`);
});

test("without a position, events between the first connection and the next are not missed", async () => {
  await using proxy = await startProxy(API_URL, (nth) => (nth === 1 ? { kind: "freeze", after: 10_000 } : { kind: "none" }));
  const [video] = await makeVideos(1);
  const reader = readStream({ ...publisher, baseUrl: proxy.url }, { videoId: video!, silence: 1 });
  const iterator = reader[Symbol.asyncIterator]();
  const next = iterator.next();
  while (reader.position === null) await new Promise((resolve) => setTimeout(resolve, 5));
  await new Publisher(publisher).publish(video!, { wait: 10 });
  assert.equal((await next).value?.subject, String(video));
  await iterator.return();
});

test("a connection that is silent is given up", async () => {
  const after = await lastPosition();
  await record(2);
  await using proxy = await startProxy(API_URL, (nth) => (nth === 1 ? { kind: "freeze", after: 2_500 } : { kind: "none" }));
  const reasons: string[] = [];
  const options = { after, silence: 0.4, onRetry: (error: Error) => void reasons.push(error.message) };
  const events = await take(readStream({ ...publisher, baseUrl: proxy.url }, options), 2);
  assert.deepEqual(positions(events), range(after + 1, after + 2));
  assert.deepEqual(reasons, ["There was no answer within 0.4 seconds."]);
});

test("the time that a handler takes does not count as silence", async () => {
  const after = await lastPosition();
  await record(2);
  const reasons: Error[] = [];
  const seen = [];
  for await (const event of readStream(publisher, { after, silence: 0.3, onRetry: (each) => void reasons.push(each) })) {
    seen.push(event);
    await new Promise((resolve) => setTimeout(resolve, 400));
    if (seen.length === 2) break;
  }
  assert.deepEqual(positions(seen), range(after + 1, after + 2));
  assert.deepEqual(reasons, []);
});

test("503 and 429 are waited for; a page of a proxy, and a wrong key, are not", async () => {
  const after = await lastPosition();
  await record(1);
  const busy = "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  await using proxy = await startProxy(API_URL, (nth) => (nth <= 2 ? { kind: "answer", text: busy } : { kind: "none" }));
  assert.equal((await take(readStream({ ...publisher, baseUrl: proxy.url }, { after }), 1)).length, 1);
  const html = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  await using page = await startProxy(API_URL, () => ({ kind: "answer", text: html }));
  await assert.rejects(take(readStream({ ...publisher, baseUrl: page.url }), 1), /not an event stream \(text\/html\)/);
  const stranger = readStream({ ...publisher, key: "pw_wrong" });
  await assert.rejects(take(stranger, 1), (error) => error instanceof Problem && error.status === 401);
});

test("the signal ends the iteration without an error, and the connection with it", async () => {
  await using proxy = await startProxy(API_URL, () => ({ kind: "none" }));
  const reader = readStream({ ...publisher, baseUrl: proxy.url }, { after: await lastPosition(), videoId: 999_999_999, signal: AbortSignal.timeout(200) });
  assert.deepEqual(await take(reader, 1), []);
  const before = AbortSignal.abort();
  assert.deepEqual(await take(readStream(publisher, { signal: before }), 1), []);
});
