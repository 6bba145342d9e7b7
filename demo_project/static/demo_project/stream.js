// The page's stream. One is open at a time, and tabs with the same content share it. It uses the
// app's shared-stream.js, which gets a new URL when a ticket has expired, and continues after the
// last event. Delivery is at least once: a repeated event has the same id.

// In a stream of several channels, the channel precedes each type.
const TYPES = {
  online: ["vitals/load", "vitals/queues", "inbox/note", "inbox/eric-reset"],
  offline: ["load", "queues"],
};

export class Stream {
  #SharedStream;
  #fetchUrls;
  #onMessage;
  #onState;
  #shared = null;
  #kind = null;
  #left = null; // the last position while online, to continue after
  #head; // of the log at the last (re)connect: messages up to it are a replay
  #turn = Promise.resolve(); // keeps messages in order

  // `fetchUrls` returns the stream URLs. The page has all messages up to the position `last`.
  constructor(SharedStream, { fetchUrls, last, onMessage, onState }) {
    this.#SharedStream = SharedStream;
    this.#fetchUrls = fetchUrls;
    this.#onMessage = onMessage;
    this.#onState = onState;
    this.last = last;
    this.#head = Promise.resolve(last);
  }

  // Replaces the stream by one of this kind ("online": with the inbox), at a URL of `known` or,
  // without it, at a new one.
  async open(kind, known = null) {
    this.#shared?.close();
    this.#shared = null;
    if (kind === "offline" && this.#kind === "online") this.#left = this.last;
    this.#kind = kind;
    this.#onState("connecting", kind);
    const found = known ?? (await this.#fetch());
    if (this.#kind !== kind || this.#shared) return; // switched again in the meantime
    this.#head = Promise.resolve(found.head);
    if (kind === "online" && this.#left !== null) [this.last, this.#left] = [this.#left, null];
    this.#connect(kind, found[kind]);
  }

  #connect(kind, path) {
    const url = new URL(path, location.href);
    url.searchParams.set("last_event_id", this.last);
    const refresh = async () => (await this.#fetchUrls())[kind];
    const options = { types: TYPES[kind], refresh, name: `demo ${url.pathname}${recipients(url)}` };
    const shared = (this.#shared = new this.#SharedStream(url.href, options));
    let wasLive = false;
    shared.addEventListener("state", ({ detail: state }) => {
      if (shared !== this.#shared) return;
      // After a reconnect: messages published until now are a replay.
      if (state === "live" && wasLive) this.#head = this.#fetch().then(({ head }) => head);
      wasLive ||= state === "live";
      this.#onState(state, kind);
    });
    for (const type of TYPES[kind]) {
      shared.addEventListener(type, (event) => this.#receive(event));
    }
  }

  #receive(event) {
    const position = Number(event.lastEventId);
    this.last = position;
    const head = this.#head;
    this.#turn = this.#turn.then(async () => {
      const replayed = position <= (await head);
      this.#onMessage(event.type.split("/").at(-1), JSON.parse(event.data), { position, replayed });
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

// The channels and listeners of a stream: the part of its URL that is the same in all tabs.
function recipients(url) {
  return ["channel", "listener"].map((name) => url.searchParams.getAll(name).join()).join(" ");
}
