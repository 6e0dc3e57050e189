/** A TCP proxy in front of the API that fails in ways a network fails. */

import { createServer, connect, type AddressInfo, type Socket } from "node:net";

/** What happens to a connection. Bytes are those of the answer. */
export type Fault =
  | { kind: "none" }
  /** It ends after this number of bytes. */
  | { kind: "cut"; after: number }
  /** It stays open, and nothing comes after this number of bytes. */
  | { kind: "freeze"; after: number }
  /** The request arrives; its answer is lost. */
  | { kind: "lose" }
  /** The request does not arrive, and this is its answer. */
  | { kind: "answer"; text: string };

export interface Proxy extends AsyncDisposable {
  url: string;
  /** The number of connections so far. */
  connections: number;
}

/** Start a proxy; `choose` gets the number of the connection, from 1. */
export async function startProxy(target: string, choose: (connection: number) => Fault): Promise<Proxy> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    proxy.connections++;
    const fault = choose(proxy.connections);
    sockets.add(client);
    client.on("error", () => client.destroy());
    if (fault.kind === "answer") {
      client.once("data", () => client.end(fault.text));
      return;
    }
    const upstream = connect(Number(port), hostname);
    sockets.add(upstream);
    upstream.on("error", () => client.destroy());
    client.on("close", () => upstream.destroy());
    upstream.on("close", () => fault.kind !== "freeze" && client.destroy());
    client.pipe(upstream);
    let seen = 0;
    upstream.on("data", (bytes) => {
      const whole = quicken(bytes);
      const part = "after" in fault ? whole.subarray(0, Math.max(0, fault.after - seen)) : whole;
      seen += whole.length;
      if (fault.kind === "lose") client.resetAndDestroy();
      else if (fault.kind === "cut" && seen >= fault.after) client.end(part, () => upstream.destroy());
      else if (part.length > 0) client.write(part);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const proxy: Proxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections: 0,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return proxy;
}

/** Replace the server's `retry: 500` to `3000` by one millisecond, in the same number of bytes. */
function quicken(bytes: Buffer): Buffer {
  const text = bytes.toString("latin1");
  return Buffer.from(text.replace(/^retry: (\d+)/m, (_, digits: string) => `retry: ${"1".padStart(digits.length, "0")}`), "latin1");
}
