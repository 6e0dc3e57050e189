/** What the compiler must accept and refuse: checked by `tsc`, never run. */

import type { PublisherEvent, PublishCommand, WebhookEvent } from "../src/index.ts";
import { Publisher } from "../src/index.ts";

declare const event: PublisherEvent;
declare const received: WebhookEvent;
declare const publisher: Publisher;

switch (event.type) {
  case "video.published": {
    const description: string | null = event.data.description;
    const omitted: string[] | undefined = event.data.omitted;
    // @ts-expect-error it may be null
    const text: string = event.data.description;
    // @ts-expect-error visibility is a closed list within a version
    event.data.visibility === "secret";
    void [description, omitted, text];
    break;
  }
  case "video.publish_rejected":
  case "video.publish_failed":
    void [event.data.reason, event.data.detail];
    break;
  // @ts-expect-error no such type is known
  case "video.exploded":
    break;
  default: {
    const type: string = event.type; // there may be types that are not listed
    void type;
  }
}

// @ts-expect-error data depends on the type
void event.data.video_id;
// @ts-expect-error a test has no position
void received.sequence;
if (received.type !== "webhook.test") void received.sequence;

const result = await publisher.publish("7", { publishAt: new Date(), wait: 10 });
if (result.video) void [result.video.is_draft, result.etag];
else void [result.command.state, result.command.due_at];
// @ts-expect-error the API's names are not the options' names
void publisher.publish(7, { publish_at: "2030-01-01T00:00:00Z" });
// @ts-expect-error only a publish command has a deadline
void publisher.unpublish(7, { publishBefore: "2030-01-01T00:00:00Z" });

// @ts-expect-error no such kind of report
void publisher.report(7, { kind: "complete" });

const state: PublishCommand["state"] = "some later state";
const action: PublishCommand["action"] = "some later action";
void [state, action];
// @ts-expect-error a time is left out, or changed: for now, give one in the past
void publisher.reschedule("id", { publishAt: null });
// @ts-expect-error commands are in two orders
void publisher.listCommands({ order: "oldest" });
