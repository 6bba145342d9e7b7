// One run: its chunks, its progress and its end, over the plain door. An EventSource reconnects by
// itself with the id of its last event; after the end the server answers 204, and it stops.

const ENDS = ["run-finished", "run-failed", "run-stopped"];

export class RunStream extends EventTarget {
  #path;
  #next = 0; // the index of the next chunk

  constructor(id) {
    super();
    this.#path = `/runs/${id}/stream/`;
    const source = new EventSource(this.#path);
    const on = (type, receive) =>
      source.addEventListener(type, ({ data }) => receive(JSON.parse(data)));
    on("run", (run) => this.#emit("state", run));
    on("run-chunk", (chunk) => this.#chunk(chunk));
    on("run-progress", (progress) => this.#emit("progress", progress));
    on("run-lost", () => this.#emit("lost", {}));
    for (const type of ENDS) {
      on(type, (end) => {
        source.close();
        this.#emit("end", { ...end, status: type.slice(4) });
      });
    }
  }

  // A chunk that was received before is skipped: delivery is at least once.
  #chunk({ i, n, text, data }) {
    const count = n ?? data.length;
    if (i < this.#next) return;
    this.#next = i + count;
    this.#emit("chunk", { text, data, index: i });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
