// The format of Server-Sent Events, as the WHATWG standard defines it (9.2.6).

export interface Handlers {
  /** `id` is the id of this event, null if it has none itself. */
  event(type: string, data: string, id: string | null): void;
  /** An id without an event: the position up to which there is nothing for this client. */
  position(id: string): void;
  retry(ms: number): void;
  comment(text: string): void;
}

// A CR at the end of a chunk may be half of a CRLF.
const LINE_END = /\r\n|\n|\r(?!$)/;

export class Parser {
  #handlers: Handlers;
  #rest = "";
  #endsInCr = false; // what is left does
  #data: string[] = [];
  #type = "";
  #id: string | null = null;

  constructor(handlers: Handlers) {
    this.#handlers = handlers;
  }

  feed(text: string): void {
    // Of a long line, only what is new is searched.
    if (!this.#endsInCr && !/[\r\n]/.test(text)) return void (this.#rest += text);
    const lines = (this.#rest + text).split(LINE_END);
    this.#rest = lines.pop() ?? "";
    this.#endsInCr = this.#rest.endsWith("\r");
    for (const line of lines) this.#line(line);
  }

  #line(line: string): void {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    if (colon === 0) return this.#comment(line.slice(1));
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#type = value;
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.#handlers.retry(Number(value));
  }

  #dispatch(): void {
    const [type, data, id] = [this.#type || "message", this.#data, this.#id];
    [this.#type, this.#data, this.#id] = ["", [], null];
    if (data.length) this.#handlers.event(type, data.join("\n"), id);
    else if (id !== null) this.#handlers.position(id);
  }

  // An id before a comment is complete: only an EventSource gets a blank line after it.
  #comment(text: string): void {
    if (this.#id !== null && !this.#data.length && !this.#type) this.#dispatch();
    this.#handlers.comment(text);
  }
}
