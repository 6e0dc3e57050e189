/** The format `text/event-stream`, as the HTML standard says it is parsed (WHATWG, 9.2.6). */

const LINE_END = /[\r\n]/g;

/** What stands between two empty lines. */
export interface Message {
  /** The type; "message" if the block names none. */
  type: string;
  /** null: a block without data, such as a heartbeat. It is not an event. */
  data: string | null;
  /** The last id so far: of this block, or of an earlier one. */
  lastEventId: string;
}

/** Takes the bytes as they come, however they are cut, and returns the blocks that are complete. */
export class EventStreamParser {
  /** Milliseconds to wait before the next connection, as the server says. null: not said. */
  retry: number | null = null;

  readonly #decoder = new TextDecoder(); // replaces invalid bytes, and drops a byte order mark
  /** The beginning of a line whose end has not come. */
  #cut = "";
  /** The last character was CR: an LF belongs to the same line end. */
  #isAfterReturn = false;
  #type = "";
  #data: string[] = [];
  #id = "";
  #hasField = false;

  constructor(lastEventId = "") {
    this.#id = lastEventId;
  }

  /** Parse the next bytes. */
  *push(bytes: Uint8Array): Generator<Message, void, undefined> {
    for (const line of this.#splitLines(this.#decoder.decode(bytes, { stream: true }))) {
      if (line !== "") this.#read(line);
      else if (this.#hasField) yield this.#dispatch();
    }
  }

  /** The lines whose end has come: CR, LF or CR LF. The rest is kept. */
  *#splitLines(text: string): Generator<string, void, undefined> {
    let start = 0;
    for (const end of text.matchAll(LINE_END)) {
      const isSecondHalf = end[0] === "\n" && end.index === start && this.#isAfterReturn;
      if (!isSecondHalf) yield this.#cut + text.slice(start, end.index);
      this.#cut = "";
      this.#isAfterReturn = end[0] === "\r";
      start = end.index + 1;
    }
    if (start === text.length) return;
    this.#cut += text.slice(start);
    this.#isAfterReturn = false;
  }

  #read(line: string): void {
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    this.#hasField = true;
    if (name === "event") this.#type = value;
    else if (name === "data") this.#data.push(value);
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    else if (name === "retry" && /^[0-9]+$/.test(value)) this.retry = Number(value);
  }

  #dispatch(): Message {
    const data = this.#data.length === 0 ? null : this.#data.join("\n");
    const message = { type: this.#type || "message", data, lastEventId: this.#id };
    this.#type = "";
    this.#data = [];
    this.#hasField = false;
    return message;
  }
}
