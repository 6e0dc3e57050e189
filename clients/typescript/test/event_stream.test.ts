/** The parser of `text/event-stream`: the HTML standard's examples, however the bytes are cut. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { EventStreamParser, type Message } from "../src/event_stream.ts";

/** Parse these bytes in pieces of this size. */
function parse(bytes: Uint8Array, size = bytes.length || 1, parser = new EventStreamParser()): Message[] {
  const messages: Message[] = [];
  for (let index = 0; index < bytes.length; index += size) {
    messages.push(...parser.push(bytes.subarray(index, index + size)));
  }
  return messages;
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const data = (text: string): (string | null)[] => parse(encode(text)).map((message) => message.data);

test("lines of data are joined", () => {
  assert.deepEqual(data("data: YHOO\ndata: +2\ndata: 10\n\n"), ["YHOO\n+2\n10"]);
});

test("one space after the colon is not part of the value", () => {
  assert.deepEqual(data("data:test\n\ndata: test\n\ndata:  test\n\n"), ["test", "test", " test"]);
});

test("a field without a colon is empty, and a block without an end is not an event", () => {
  assert.deepEqual(data("data\n\ndata\ndata\n\ndata:"), ["", "\n"]);
});

test("an id stays until another one; an empty one takes it away; one with NUL is ignored", () => {
  const messages = parse(encode(": a comment\n\ndata: 1\nid: 1\n\ndata: 2\n\nid\ndata: 3\n\nid: 4\n\nid: \0x\ndata: 5\n\n"));
  assert.deepEqual(messages.map((message) => message.lastEventId), ["1", "1", "", "4", "4"]);
  assert.deepEqual(messages.map((message) => message.data), ["1", "2", "3", null, "5"]);
});

test("a type is of one block alone, also of one without data", () => {
  const messages = parse(encode("event: a\ndata: 1\n\nevent: b\n\ndata: 2\n\n"));
  assert.deepEqual(messages.map((message) => message.type), ["a", "b", "message"]);
});

test("only digits are a time to retry after", () => {
  const parser = new EventStreamParser();
  parse(encode("retry: 1500\nretry: 15s\nretry: -1\nretry:\n\n"), 3, parser);
  assert.equal(parser.retry, 1500);
});

test("CR, LF and CR LF end a line, and an event is there with its last byte", () => {
  for (const end of ["\r", "\n", "\r\n"]) {
    const parser = new EventStreamParser();
    const bytes = encode(`id: 1${end}data: a${end}${end}`);
    const early = end === "\r\n" ? bytes.length - 1 : bytes.length;
    assert.equal(parse(bytes.subarray(0, early), 1, parser).length, 1, JSON.stringify(end));
  }
});

test("wherever the bytes are cut, the events are the same", () => {
  const text = "\ufeffid: 7\r\nevent: video.published\r\ndata: {\"title\": \"Zürich 東京 🎬\"}\r\n\r\n: heartbeat\r\rid: 8\n\ndata: a\rdata: b\n\r\n";
  const bytes = encode(text);
  const whole = parse(bytes);
  assert.deepEqual(whole, [
    { type: "video.published", data: '{"title": "Zürich 東京 🎬"}', lastEventId: "7" },
    { type: "message", data: null, lastEventId: "8" },
    { type: "message", data: "a\nb", lastEventId: "8" },
  ]);
  for (let size = 1; size < bytes.length; size++) assert.deepEqual(parse(bytes, size), whole, `pieces of ${size}`);
  for (let cut = 0; cut < bytes.length; cut++) {
    const parser = new EventStreamParser();
    const both = [...parser.push(bytes.subarray(0, cut)), ...parser.push(new Uint8Array()), ...parser.push(bytes.subarray(cut))];
    assert.deepEqual(both, whole, `cut at ${cut}`);
  }
});

test("an event of many pieces is parsed in linear time", () => {
  const bytes = encode(`data: ${"x".repeat(4_000_000)}\n\n`);
  const began = performance.now();
  assert.equal(parse(bytes, 1_000)[0]?.data?.length, 4_000_000);
  assert.ok(performance.now() - began < 5_000);
});
