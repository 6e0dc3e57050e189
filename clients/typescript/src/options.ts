/** Options by the API's names in a request, and by the caller's in the texts of its answers. */

import { OPTION_NAMES } from "./resources.ts";

export const HEADERS = { idempotencyKey: "Idempotency-Key", correlationId: "X-Correlation-ID" } as const;

const OPTIONS = new Map<string, string>(
  Object.entries({ ...OPTION_NAMES, ...HEADERS }).map(([option, name]) => [name, option]),
);

/** Return options by the API's names. Throws TypeError for a name that is not an option. */
export function toBody(options: object): Record<string, unknown> {
  const body: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(options)) {
    const known = Object.hasOwn(OPTION_NAMES, name) ? OPTION_NAMES[name] : undefined;
    if (known === undefined) throw new TypeError(`${name} is not an option: nothing was sent.`);
    if (value !== undefined) body[known] = value; // a Date becomes its text in UTC
  }
  return body;
}

/** Return a text of the API with the caller's names of the options: `publishAt` for `publish_at`. */
export function nameOptions(text: string): string {
  return text.replace(/[\w-]+/g, (word) => OPTIONS.get(word) ?? word);
}
