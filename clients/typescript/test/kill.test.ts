/** The live stream and the feed, while the API is killed and started again on the same port. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Gap, Publisher, readFeed, readStream, type PublisherEvent } from "../src/index.ts";
import { forget, killApi, lastPosition, makeVideos, positions, publisher, range, record, startApi, take } from "./support/run.ts";

async function collect(events: AsyncIterable<PublisherEvent>, into: PublisherEvent[]): Promise<void> {
  for await (const event of events) into.push(event);
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setTimeout(resolve, 20));
}

test("no event is missed and none comes twice, and no command is made twice", async () => {
  const after = (await lastPosition()) ?? 0;
  const controller = new AbortController();
  const options = { after, signal: controller.signal };
  const streamed: PublisherEvent[] = [];
  const paged: PublisherEvent[] = [];
  const readers = [collect(readStream(publisher, options), streamed), collect(readFeed(publisher, options), paged)];
  const [video] = await makeVideos(1);
  await record(3);
  await until(() => streamed.length === 3 && paged.length === 3);
  await killApi();
  const published = new Publisher(publisher).publish(video!); // sent while no API runs
  await record(3);
  await startApi();
  await published;
  await record(3);
  await until(() => streamed.length >= 10 && paged.length >= 10);
  controller.abort();
  await Promise.all(readers);
  assert.deepEqual(positions(streamed), range(after + 1, after + 10));
  assert.deepEqual(positions(paged), range(after + 1, after + 10));
});

test("events that are not stored any more are a gap, which says where to go on", async () => {
  await record(2);
  const until = (await lastPosition()) - 1;
  await killApi(); // a running one remembers the last thousand events
  await forget(until);
  await startApi();
  const gap = await take(readStream(publisher, { after: until - 1 }), 1).catch((error: unknown) => error);
  assert.ok(gap instanceof Gap);
  assert.equal(gap.resumeAfter, String(until));
  const [next] = await take(readStream(publisher, { after: gap.resumeAfter! }), 1);
  assert.equal(next?.sequence, String(until + 1));
});
