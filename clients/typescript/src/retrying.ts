/** When to try again: which errors pass by themselves, and how long to wait. */

import { ConnectionLost, Problem } from "./problem.ts";

const FIRST_SECONDS = 0.5;
const LONGEST_SECONDS = 30;
const PASSING = new Set([408, 425, 429, 502, 503, 504]);

/** Whether the same request may succeed later. */
export function isPassing(error: unknown): error is Error {
  return error instanceof ConnectionLost || (error instanceof Problem && PASSING.has(error.status));
}

/** Return the seconds to wait after the `failures`-th failure in a row.
 *
 * `Retry-After` counts if the server sent it; without it the wait doubles, at random, so that
 * clients that failed together do not return together. */
export function chooseWait(error: unknown, failures: number, first: number = FIRST_SECONDS): number {
  const asked = error instanceof Problem ? error.retryAfter : null;
  if (asked !== null) return asked * (1 + 0.2 * Math.random());
  const longest = Math.min(LONGEST_SECONDS, first * 2 ** (failures - 1));
  return longest * (0.5 + 0.5 * Math.random());
}

/** Wait. Ends early, without an error, when the signal aborts. */
export function sleep(seconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const end = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, seconds * 1000);
    signal?.addEventListener("abort", end, { once: true });
  });
}
