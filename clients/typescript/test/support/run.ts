/** The real run that the tests read and publish on: see tests/support/client_run.py. */

import type { Connection, PublisherEvent } from "../../src/index.ts";

export const API_URL = setting("API_URL");
export const publisher: Connection = { baseUrl: API_URL, key: setting("PUBLISH_KEY") };
export const admin: Connection = { baseUrl: API_URL, key: setting("ADMIN_KEY") };

export function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: tests/acceptance/test_typescript_client.py sets it.`);
  return value;
}

/** Make videos, ready unless their generation is in progress; return their ids. */
export const makeVideos = (count: number, status: "completed" | "in_progress" = "completed"): Promise<number[]> =>
  order("/videos", { count, ready: Number(status === "completed") });
/** Publish new videos without the API; return their ids. */
export const record = (count: number): Promise<number[]> => order("/record", { count });
/** Let the command of a video fail, as after five attempts. */
export const fail = (video: number): Promise<void> => order("/fail", { video });
export const lastPosition = (): Promise<number> => order("/last");
export const forget = (until: number): Promise<void> => order("/forget", { until });
export const killApi = (): Promise<void> => order("/kill");
export const startApi = (): Promise<void> => order("/start");

async function order<T>(path: string, numbers: Record<string, number> = {}): Promise<T> {
  const query = new URLSearchParams(Object.entries(numbers).map(([name, value]) => [name, String(value)]));
  const answer = await fetch(`${setting("CONTROL_URL")}${path}?${query}`, { method: "POST" });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return (await answer.json()) as T;
}

/** Take this number of events. */
export async function take(events: AsyncIterable<PublisherEvent>, count: number): Promise<PublisherEvent[]> {
  const taken: PublisherEvent[] = [];
  for await (const event of events) {
    taken.push(event);
    if (taken.length >= count) break;
  }
  return taken;
}

export const positions = (events: readonly PublisherEvent[]): number[] => events.map((event) => Number(event.sequence));

/** The whole numbers from `first` to `last`. */
export const range = (first: number, last: number): number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);
