/** Whether this client knows an event's type, in its version. */

import { VERSIONS, type CloudEvent, type KnownEvent } from "./events.ts";

/** Whether `data` is as described here: the type is listed, and `dataschema` names its version.
 *
 * Within a version only optional fields are added. A later version has another shape. */
export function isKnown(event: Pick<CloudEvent, "type"> & { dataschema?: string }): event is KnownEvent {
  if (!Object.hasOwn(VERSIONS, event.type)) return false;
  const version = VERSIONS[event.type as KnownEvent["type"]];
  return event.dataschema?.endsWith(`/schemas/${event.type}/${version}`) ?? false;
}
