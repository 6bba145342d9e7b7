// A stream that lasts as long as the page wants it.
//
// After a broken connection the browser comes back by itself, with the id of the last
// event it got. After any answer that is no stream it gives up for good: 403 for a
// ticket past its time, 502 of a proxy. Then we ask for a fresh address and go on from
// that id. What comes twice, for delivery is at least once, carries the same id.

const LONGEST_PAUSE_MS = 30_000;

export class Stream {
  #addresses;
  #name;
  #types;
  #onMessage;
  #onState;
  #source = null;
  #timer = null;
  #failures = 0;
  #last; // position of the last event; null before the first: from the listener's cursor
  #head = Promise.resolve(0); // of the log when the connection was opened
  #turn = Promise.resolve(); // messages are shown in their order

  // `addresses` is a function that fetches; `name` says which of its addresses is ours.
  constructor(addresses, name, types, onMessage, onState, last = null) {
    this.#addresses = addresses;
    this.#name = name;
    this.#types = types;
    this.#onMessage = onMessage;
    this.#onState = onState;
    this.#last = last;
  }

  // Opens it, at an address in `known` or else at a fresh one.
  async open(known = null) {
    this.close();
    this.#onState("connecting");
    const attempt = (this.#timer = Symbol("attempt"));
    let found = known;
    if (found === null) {
      try {
        found = await this.#addresses();
      } catch {
        if (this.#timer === attempt) this.#retry();
        return;
      }
    }
    if (this.#timer !== attempt) return; // closed or opened again meanwhile
    this.#timer = null;
    this.#head = Promise.resolve(found.head);
    this.#connect(found[this.#name]);
  }

  close() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#source?.close();
    this.#source = null;
    this.#onState("offline");
  }

  #connect(address) {
    const url = new URL(address, location.href);
    if (this.#last !== null) url.searchParams.set("last_event_id", this.#last);
    const source = (this.#source = new EventSource(url));
    let opened = false;
    source.onopen = () => {
      // The browser came back by itself: what was published until now is a replay.
      if (opened) this.#head = this.#fetchHead();
      opened = true;
      this.#failures = 0;
      this.#onState("live");
    };
    source.onerror = () => {
      if (source !== this.#source) return;
      if (source.readyState === EventSource.CLOSED) this.#retry();
      else this.#onState("reconnecting");
    };
    for (const type of [...this.#types, "eric-reset"]) {
      source.addEventListener(type, (event) => this.#receive(event));
    }
  }

  #receive(event) {
    const position = Number(event.lastEventId);
    this.#last = position;
    const head = this.#head;
    this.#turn = this.#turn.then(async () => {
      const replayed = position <= (await head);
      this.#onMessage(event.type, JSON.parse(event.data), { position, replayed });
    });
    this.#turn = this.#turn.catch((error) => console.error(error));
  }

  async #fetchHead() {
    try {
      return (await this.#addresses()).head;
    } catch {
      return 0;
    }
  }

  #retry() {
    this.#source?.close();
    this.#source = null;
    this.#onState("reconnecting");
    const most = Math.min(LONGEST_PAUSE_MS, 500 * 2 ** this.#failures++);
    this.#timer = setTimeout(() => this.open(), most * (0.5 + Math.random() / 2));
  }
}
