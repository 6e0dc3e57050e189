/** Webhooks that a real worker sends. */

import assert from "node:assert/strict";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { test } from "node:test";

import { Publisher, verifyWebhook } from "../src/index.ts";
import { admin, API_URL, makeVideos } from "./support/run.ts";

interface Endpoint {
  id: string;
  secret: string;
}

async function ask<T>(path: string, body: object = {}): Promise<T> {
  const headers = { Authorization: `Bearer ${admin.key}`, "Content-Type": "application/json" };
  const answer = await fetch(`${API_URL}/api/v1/webhook-endpoints${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  assert.ok(answer.ok, await answer.clone().text());
  return (await answer.json()) as T;
}

test("a delivery, a test event and a delivery after a rotation are valid", async () => {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    response.writeHead(204).end();
    server.emit("delivery", Buffer.concat(chunks), request.headers);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
  const receive = async (): Promise<[Buffer, IncomingHttpHeaders]> => (await once(server, "delivery")) as never;

  const endpoint = await ask<Endpoint>("", { url, event_types: ["video.published"] });
  const [video] = await makeVideos(1);
  let delivery = receive();
  await new Publisher(admin).publish(video!);
  const [body, headers] = await delivery;
  const event = await verifyWebhook(body, headers, endpoint.secret);
  assert.ok(event.type === "video.published");
  assert.equal(event.data.video_id, video);
  assert.equal(event.id, headers["webhook-id"]);

  const rotated = await ask<Endpoint>(`/${endpoint.id}/rotate-secret`);
  delivery = receive();
  await ask(`/${endpoint.id}/test`);
  const [testBody, testHeaders] = await delivery;
  for (const secret of [endpoint.secret, rotated.secret]) {
    const tested = await verifyWebhook(testBody, testHeaders, secret);
    assert.ok(tested.type === "webhook.test");
    assert.equal(tested.data.endpoint_id, endpoint.id);
  }
  server.closeAllConnections();
  server.close();
});
