// The page's stream: one at a time, and one for all tabs that show the same. See the app's
// shared-stream.js, which asks for a fresh address when a ticket has expired, and goes on from
// the last event. What comes twice, for delivery is at least once, carries the same id.

// A stream of several channels says the channel before each type.
const TYPES = {
  online: ["vitals/load", "vitals/queues", "inbox/note", "inbox/eric-reset"],
  offline: ["load", "queues"],
};

export class Stream {
  #SharedStream;
  #addresses;
  #onMessage;
  #onState;
  #shared = null;
  #kind = null;
  #left = null; // the last position while online: from there we come back
  #head; // of the log when we (re)connected: what is not after it is a replay
  #turn = Promise.resolve(); // messages are shown in their order

  // `addresses` is a function that fetches; `last` the position up to which the page has all.
  constructor(SharedStream, { addresses, last, onMessage, onState }) {
    this.#SharedStream = SharedStream;
    this.#addresses = addresses;
    this.#onMessage = onMessage;
    this.#onState = onState;
    this.last = last;
    this.#head = Promise.resolve(last);
  }

  // Has the stream of this kind ("online": with the inbox) instead of the one before, at an
  // address in `known` or else at a fresh one.
  async open(kind, known = null) {
    this.#shared?.close();
    this.#shared = null;
    if (kind === "offline" && this.#kind === "online") this.#left = this.last;
    this.#kind = kind;
    this.#onState("connecting", kind);
    const found = known ?? (await this.#fetch());
    if (this.#kind !== kind || this.#shared) return; // switched again meanwhile
    this.#head = Promise.resolve(found.head);
    if (kind === "online" && this.#left !== null) [this.last, this.#left] = [this.#left, null];
    this.#connect(kind, found[kind]);
  }

  #connect(kind, address) {
    const url = new URL(address, location.href);
    url.searchParams.set("last_event_id", this.last);
    const refresh = async () => (await this.#addresses())[kind];
    const options = { types: TYPES[kind], refresh, name: `demo ${url.pathname}${names(url)}` };
    const shared = (this.#shared = new this.#SharedStream(url.href, options));
    let wasLive = false;
    shared.addEventListener("state", ({ detail: words }) => {
      if (shared !== this.#shared) return;
      // It was away: what was published until now is a replay.
      if (words === "live" && wasLive) this.#head = this.#fetch().then(({ head }) => head);
      wasLive ||= words === "live";
      this.#onState(words, kind);
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

  // Until it can be had.
  async #fetch() {
    for (let pause = 500; ; pause = Math.min(2 * pause, 30_000)) {
      try {
        return await this.#addresses();
      } catch {
        this.#onState("reconnecting", this.#kind);
        await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random() / 2)));
      }
    }
  }
}

// Whom a stream is for, without what differs from page to page.
function names(url) {
  return ["channel", "listener"].map((name) => url.searchParams.getAll(name).join()).join(" ");
}
