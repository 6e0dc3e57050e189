/** The publisher, against a real API and worker, through networks that fail. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { ConnectionLost, Problem, Publisher, readStream, type ListOptions, type PublishCommand } from "../src/index.ts";
import { startProxy } from "./support/proxy.ts";
import { API_URL, fail, makeVideos, publisher as connection } from "./support/run.ts";

const publisher = new Publisher(connection);
const NO_COMMAND = "00000000-0000-7000-8000-000000000000";

/** Takes seconds, so it begins before the first test. */
const unreachable = (async () => {
  await using proxy = await startProxy(API_URL, () => ({ kind: "cut", after: 0 }));
  const error: unknown = await new Publisher({ ...connection, baseUrl: proxy.url }).readCommand(NO_COMMAND).catch((each: unknown) => each);
  return { error, connections: proxy.connections };
})();

async function makeVideo(): Promise<number> {
  const [video] = await makeVideos(1);
  assert.ok(video !== undefined);
  return video;
}

/** A publisher that reads a command, changes it, loses that answer as the command ends, and asks again. */
function losingItsChange(id: string): Publisher {
  let asked = 0;
  const losing: typeof fetch = async (url, options) => {
    const answer = await fetch(url, options);
    if (++asked !== 2) return answer;
    await publisher.cancel(id);
    throw new TypeError("The connection ended before the answer.");
  };
  return new Publisher({ ...connection, fetch: losing });
}

/** The commands that exist for a video. */
const listCommands = (videoId: number): Promise<PublishCommand[]> => list({ videoId });

async function list(options: ListOptions): Promise<PublishCommand[]> {
  const commands: PublishCommand[] = [];
  for await (const command of publisher.listCommands(options)) commands.push(command);
  return commands;
}

test("an address or a key that is not set is refused before anything is sent", async () => {
  const unset = process.env.NOT_SET as string;
  await assert.rejects(new Publisher({ ...connection, baseUrl: unset }).publish(1), /baseUrl is undefined: give the API's address/);
  await assert.rejects(new Publisher({ ...connection, key: unset }).publish(1), /key is missing/);
  const stream = readStream({ ...connection, key: "" })[Symbol.asyncIterator]();
  await assert.rejects(stream.next(), /key is missing/);
});

test("with wait the answer is the published video; unpublish makes it a draft again", async () => {
  const video = await makeVideo();
  const published = await publisher.publish(video, { wait: 20 });
  assert.equal(published.video?.is_draft, false);
  const withdrawn = await publisher.unpublish(video, { wait: 20, expectedRevision: 1 });
  assert.equal(withdrawn.video?.is_draft, true);
});

test("a command of a later time has the options, can be read, and cancelled", async () => {
  const video = await makeVideo();
  const { command } = await publisher.publish(video, {
    publishAtLocal: "2030-06-01T18:00",
    unpublishAt: new Date("2031-01-01T00:00:00Z"),
    timeZone: "Africa/Cairo",
    publishBefore: "2030-07-01T00:00:00Z",
    correlationId: "job-4711",
  });
  assert.ok(command !== null);
  assert.equal(command.state, "scheduled");
  assert.equal(command.publish_at, "2030-06-01T15:00:00Z");
  assert.equal(command.publish_before, "2030-07-01T00:00:00Z");
  assert.equal(command.correlation_id, "job-4711");
  assert.equal((await publisher.readCommand(command.id)).id, command.id);
  assert.equal((await listCommands(video)).length, 2, "and one that ends its window");
  assert.equal((await publisher.cancel(command.id)).state, "cancelled");
  assert.equal((await publisher.cancel(command.id)).state, "cancelled", "as after an answer that was lost");
});

test("a command gets another time and deadline, and the end of its window another one", async () => {
  const { command } = await publisher.publish(await makeVideo(), {
    publishAt: "2030-06-01T18:00:00Z",
    unpublishAt: "2031-01-01T00:00:00Z",
  });
  assert.ok(command !== null);
  const changed = await publisher.reschedule(command.id, { publishAtLocal: "2030-06-02T18:00", timeZone: "Africa/Cairo" });
  assert.equal(changed.publish_at, "2030-06-02T15:00:00Z");
  const bounded = await publisher.reschedule(command.id, { publishBefore: new Date("2030-07-01T00:00:00Z") });
  assert.deepEqual([bounded.publish_at, bounded.publish_before], ["2030-06-02T15:00:00Z", "2030-07-01T00:00:00Z"]);
  assert.equal((await publisher.reschedule(command.id, { publishBefore: null })).publish_before, null);
  const end = command.counterpart?.split("/").at(-1) ?? "";
  assert.equal((await publisher.reschedule(end, { unpublishAt: "2032-01-01T00:00:00Z" })).unpublish_at, "2032-01-01T00:00:00Z");
  const misspelt = { at: "2030-06-01T18:00:00Z" } as object;
  await assert.rejects(async () => publisher.reschedule(command.id, misspelt), /at is not an option/);
  await publisher.cancel(command.id);
  const late = publisher.reschedule(command.id, { publishBefore: null });
  await assert.rejects(late, (error) => error instanceof Problem && error.type === "/problems/command-ended");
});

test("the outcome of a command is awaited", async () => {
  const { command } = await publisher.publish(await makeVideo());
  assert.equal((await publisher.awaitOutcome(command?.id ?? "")).state, "published");
  const later = await publisher.publish(await makeVideo(), { publishAt: "2030-01-01T00:00:00Z" });
  assert.equal((await publisher.awaitOutcome(later.command?.id ?? "", { seconds: 0.1 })).state, "scheduled");
  const waiting = publisher.awaitOutcome(later.command?.id ?? "", { signal: AbortSignal.timeout(50) });
  await assert.rejects(waiting, { name: "TimeoutError" });
});

test("a failed command is retried, also after an answer that was lost", async () => {
  const [video] = await makeVideos(1, "in_progress");
  const { command } = await publisher.publish(video!);
  assert.ok(command !== null);
  await fail(video!);
  assert.equal((await publisher.readCommand(command.id)).state, "failed");
  for (let nth = 0; nth < 2; nth++) assert.equal((await publisher.retry(command.id)).finished_at, null);
  await publisher.cancel(command.id);
  await assert.rejects(publisher.retry(command.id), (error) => error instanceof Problem && error.type === "/problems/command-not-failed");
});

test("a retry whose answer was lost is not refused once the command has ended", async () => {
  const [video] = await makeVideos(1, "in_progress"); // the worker leaves its command to the test
  const { command } = await publisher.publish(video!);
  assert.ok(command !== null);
  await fail(video!);
  const lost = losingItsChange(command.id);
  assert.equal((await lost.retry(command.id)).state, "cancelled");
});

test("a reschedule whose answer was lost is not refused once the command has ended at that time", async () => {
  const [video] = await makeVideos(1, "in_progress");
  const { command } = await publisher.publish(video!, { publishAt: "2030-06-01T18:00:00Z" });
  assert.ok(command !== null);
  const lost = losingItsChange(command.id);
  const changed = await lost.reschedule(command.id, { publishAt: new Date("2026-01-01T00:00:00Z") });
  assert.deepEqual([changed.state, changed.publish_at], ["cancelled", "2026-01-01T00:00:00Z"]);
  const again = publisher.reschedule(command.id, { publishAt: "2026-01-01T00:00:00Z" });
  await assert.rejects(again, (error) => error instanceof Problem && error.type === "/problems/command-ended");
});

test("a lost answer is found by a local time that the API writes with seconds", async () => {
  const { command } = await publisher.publish(await makeVideo(), { publishAt: "2030-06-01T18:00:00Z" });
  assert.ok(command !== null);
  const lost = losingItsChange(command.id);
  const changed = await lost.reschedule(command.id, { publishAtLocal: "2030-01-01T09:00", timeZone: "Europe/Berlin" });
  assert.deepEqual([changed.state, changed.publish_at_local], ["cancelled", "2030-01-01T09:00:00"]);
});

test("a reschedule of a command that ends with other times is refused", async () => {
  const { command } = await publisher.publish(await makeVideo(), { publishAt: "2030-06-01T18:00:00Z" });
  assert.ok(command !== null);
  let asked = 0;
  const ending: typeof fetch = async (url, options) => {
    if (++asked === 2) await publisher.cancel(command.id);
    return fetch(url, options);
  };
  const late = new Publisher({ ...connection, fetch: ending }).reschedule(command.id, { publishAt: "2026-01-01T00:00:00Z" });
  await assert.rejects(late, (error) => error instanceof Problem && error.type === "/problems/command-ended");
});

test("commands are listed over all pages", async () => {
  const videos = await makeVideos(60);
  const day = (nth: number): Date => new Date(Date.UTC(2040, 0, 1 + nth));
  const commands = await publisher.enqueue(videos.map((videoId, nth) => ({ videoId, publishAt: day(nth) })));
  const ids = commands.map((command) => command.id);
  const listIds = async (options: ListOptions): Promise<string[]> => (await list(options)).map((command) => command.id);
  assert.deepEqual(await listIds({ state: "scheduled", dueFrom: day(0), order: "due" }), ids);
  assert.deepEqual(await listIds({ dueFrom: day(1), dueUntil: day(3) }), [ids[2], ids[1]]);
  assert.deepEqual(await listIds({ videoId: videos[9]! }), [ids[9]]);
  await assert.rejects(list({ state: "exploded" }), (error) => error instanceof Problem && error.status === 422);
});

test("fields of the video are changed as it is published", async () => {
  const id = await makeVideo();
  const { video } = await publisher.publish(id, {
    video: { template: {}, owner: {}, title: "Attention, explained", workspace: 1, tags: [1, 2] },
    wait: 20,
  });
  assert.equal(video?.title, "Attention, explained");
  assert.deepEqual(video?.tags, [1, 2]);
});

test("many commands are accepted together, or none", async () => {
  const [first, second] = await makeVideos(2);
  assert.ok(first !== undefined && second !== undefined);
  const at = "2030-01-01T00:00:00Z";
  const commands = await publisher.enqueue([
    { videoId: first, publishAt: at },
    { videoId: second, action: "unpublish", unpublishAt: at },
  ]);
  assert.deepEqual(commands.map((each) => [each.video_id, each.action]), [[first, "publish"], [second, "unpublish"]]);
  const wrong = publisher.enqueue([{ videoId: first }, { videoId: 999_999_999 }]);
  await assert.rejects(wrong, (error) => error instanceof Problem && error.errors[0]?.pointer === "/commands/1/video_id");
  assert.equal((await listCommands(first)).length, 1);
});

test("a pipeline reports, and what waits for it is published", async () => {
  const [id] = await makeVideos(1, "in_progress");
  assert.ok(id !== undefined);
  const published = publisher.publish(id, { wait: 20 });
  const state = await publisher.report(id, { kind: "completed", video: "https://cdn.example.com/new.mp4", duration: 312 });
  assert.equal(state.status, "completed");
  assert.equal((await published).video?.video, "https://cdn.example.com/new.mp4");
});

test("a problem says what is wrong", async () => {
  const missing = await publisher.publish(999_999_999).catch((error: unknown) => error);
  assert.ok(missing instanceof Problem);
  assert.deepEqual([missing.status, missing.type], [404, "/problems/no-such-video"]);
  assert.match(missing.message, /^404 No such video: There is no video 999999999/);
  assert.match(missing.correlationId ?? "", /./);
  const late = await publisher.publish(1, { publishBefore: "tomorrow" }).catch((error: unknown) => error);
  assert.ok(late instanceof Problem);
  assert.match(late.message, /To be corrected: \/publishBefore\.$/);
  assert.equal(late.errors[0]?.pointer, "/publish_before");
  assert.match(late.stack ?? "", /publishBefore/, "which Node prints if nothing catches it");
  const long = publisher.publish(1, { idempotencyKey: "k".repeat(300) });
  await assert.rejects(long, /To be corrected: header idempotencyKey\.$/);
  const stranger = new Publisher({ ...connection, key: "pw_wrong" });
  await assert.rejects(stranger.readCommand(NO_COMMAND), (error) => error instanceof Problem && error.status === 401);
});

test("an option that is misspelt, and an id that is not exact, are refused before anything is sent", async () => {
  const nowhere = new Publisher({ baseUrl: "http://127.0.0.1:1", key: "x" });
  const misspelt = { publish_at: "2030-01-01T00:00:00Z" } as object;
  await assert.rejects(async () => nowhere.publish(7, misspelt), /publish_at is not an option/);
  for (const id of [2 ** 53, 1.5, -1, "7/../8", "", "x"]) {
    await assert.rejects(async () => nowhere.publish(id), RangeError, String(id));
  }
  await assert.rejects(nowhere.enqueue([{ videoId: 2n ** 60n }]), RangeError);
  for (const id of ["", ".", "..", "x", `${NO_COMMAND}/retry`, `${NO_COMMAND}?x`]) {
    for (const ask of [nowhere.readCommand(id), nowhere.awaitOutcome(id), nowhere.cancel(id), nowhere.retry(id)]) {
      await assert.rejects(ask, RangeError, id);
    }
    await assert.rejects(nowhere.reschedule(id, { publishBefore: null }), RangeError, id);
  }
});

test("an answer that is lost makes no second command", async () => {
  const video = await makeVideo();
  await using proxy = await startProxy(API_URL, (nth) => (nth <= 2 ? { kind: "lose" } : { kind: "none" }));
  const result = await new Publisher({ ...connection, baseUrl: proxy.url }).publish(video);
  assert.equal(proxy.connections, 3);
  assert.equal(result.replayed, true);
  assert.deepEqual((await listCommands(video)).map((each) => each.id), [result.command?.id]);
});

test("a server that does not answer is asked again", async () => {
  const video = await makeVideo();
  await using proxy = await startProxy(API_URL, (nth) => (nth === 1 ? { kind: "freeze", after: 0 } : { kind: "none" }));
  await new Publisher({ ...connection, baseUrl: proxy.url, timeout: 0.5 }).publish(video);
  assert.equal((await listCommands(video)).length, 1);
});

test("after 429 the publisher waits as long as the server says", async () => {
  const video = await makeVideo();
  const text = "HTTP/1.1 429 Slow down\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  await using proxy = await startProxy(API_URL, (nth) => (nth === 1 ? { kind: "answer", text } : { kind: "none" }));
  const began = performance.now();
  await new Publisher({ ...connection, baseUrl: proxy.url }).publish(video);
  assert.ok(performance.now() - began >= 1_000);
  assert.equal((await listCommands(video)).length, 1);
});

test("a wait of more than a minute is left to the caller", async () => {
  const text = "HTTP/1.1 503 Later\r\nRetry-After: 3600\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  await using proxy = await startProxy(API_URL, () => ({ kind: "answer", text }));
  const asked = new Publisher({ ...connection, baseUrl: proxy.url }).publish(1);
  await assert.rejects(asked, (error) => error instanceof Problem && error.status === 503 && error.retryAfter === 3600);
  assert.equal(proxy.connections, 1);
});

test("a redirect is not followed: a POST would become a GET, whose answer looks like success", async () => {
  const text = `HTTP/1.1 301 Moved\r\nLocation: ${API_URL}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`;
  await using proxy = await startProxy(API_URL, () => ({ kind: "answer", text }));
  await assert.rejects(new Publisher({ ...connection, baseUrl: proxy.url }).publish(1), /Set baseUrl to where the API is/);
});

test("the caller's signal ends a request, and the wait before the next one", async () => {
  const reason = new Error("enough");
  const frozen = await startProxy(API_URL, () => ({ kind: "freeze", after: 0 }));
  for (const baseUrl of [frozen.url, "http://127.0.0.1:1"]) {
    const controller = new AbortController();
    setTimeout(() => controller.abort(reason), 50);
    const asked = new Publisher({ ...connection, baseUrl }).publish(1, { signal: controller.signal });
    await assert.rejects(asked, (error) => error === reason);
  }
  await frozen[Symbol.asyncDispose]();
});

test("a server that stays unreachable is a lost connection, after five attempts", async () => {
  const { error, connections } = await unreachable;
  assert.ok(error instanceof ConnectionLost);
  assert.equal(connections, 5);
});

test("the address may have a slash at its end, and /api/v1", async () => {
  const video = await makeVideo();
  for (const baseUrl of [`${API_URL}/`, `${API_URL}/api/v1`, new URL(`${API_URL}/api/v1/`)]) {
    assert.ok(await new Publisher({ ...connection, baseUrl }).publish(video, { publishAt: "2030-01-01T00:00:00Z" }));
  }
});
