// The page's stream. One is open at a time, and tabs with the same content share it. The app's
// client fetches a new URL when a ticket has expired, and drops repeated messages.

// In a stream of several channels, the channel precedes each type.
const TYPES = {
  online: ["vitals/load", "vitals/queues", "inbox/note"],
  offline: ["load", "queues"],
};

export class Stream {
  #client;
  #fetchUrls;
  #onMessage;
  #onState;
  #stream = null;
  #kind = null;
  #left = null; // the last position while online, to continue after
  #head; // of the log at the last (re)connect: messages up to it are a replay
  #turn = Promise.resolve(); // keeps messages in order

  // `fetchUrls` returns the stream URLs. The page has all messages up to the position `last`.
  constructor(connect, { fetchUrls, last, onMessage, onState }) {
    this.#client = connect;
    this.#fetchUrls = fetchUrls;
    this.#onMessage = onMessage;
    this.#onState = onState;
    this.last = last;
    this.#head = Promise.resolve(last);
  }

  // Replaces the stream by one of this kind ("online": with the inbox), at a URL of `known` or,
  // without it, at a new one.
  async open(kind, known = null) {
    const left = this.#stream;
    this.#stream = null;
    left?.close();
    if (kind === "offline" && this.#kind === "online") this.#left = this.last;
    this.#kind = kind;
    this.#onState("connecting", kind);
    const found = known ?? (await this.#fetch());
    if (this.#kind !== kind || this.#stream) return; // switched again in the meantime
    this.#head = Promise.resolve(found.head);
    if (kind === "online" && this.#left !== null) [this.last, this.#left] = [this.#left, null];
    this.#connect(kind, found[kind]);
  }

  #connect(kind, path) {
    const url = new URL(path, location.href);
    url.searchParams.set("last_event_id", this.last);
    let wasLive = false;
    const stream = (this.#stream = this.#client(url, {
      types: TYPES[kind],
      refresh: async () => (await this.#fetchUrls())[kind],
      onstate: (state) => {
        if (stream !== this.#stream) return;
        // After a reconnect: messages published until now are a replay.
        if (state === "live" && wasLive) this.#head = this.#fetch().then(({ head }) => head);
        wasLive ||= state === "live";
        this.#onState(state, kind);
      },
      onreset: (reset) => this.#receive("eric-reset", reset, stream.lastEventId),
    }));
    for (const type of TYPES[kind]) {
      stream.on(type, (data, { id }) => this.#receive(type.split("/").at(-1), data, id));
    }
  }

  #receive(type, data, id) {
    const position = Number(id);
    this.last = position;
    const head = this.#head;
    this.#turn = this.#turn.then(async () => {
      const replayed = position <= (await head);
      this.#onMessage(type, data, { position, replayed });
    });
    this.#turn = this.#turn.catch((error) => console.error(error));
  }

  // Retries until it succeeds.
  async #fetch() {
    for (let pause = 500; ; pause = Math.min(2 * pause, 30_000)) {
      try {
        return await this.#fetchUrls();
      } catch {
        this.#onState("reconnecting", this.#kind);
        await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random() / 2)));
      }
    }
  }
}
