// One stream for all tabs that a browser has open of a site.
//
//   const stream = new SharedStream(url, { types: ["paid"], refresh });
//   stream.addEventListener("paid", ({ data, lastEventId }) => …);
//
// Over HTTP/1.1 a browser opens six connections to a site, for all of its tabs. So one tab,
// the one that holds a Web Lock, has the EventSource, and tells the others what comes over a
// BroadcastChannel. When it is closed another gets the lock, and goes on from the last event
// that any tab has. Each tab gets every event after the `last_event_id` of its own url.
//
// A browser keeps a page that was left for a while, with its connections and locks, in case
// its reader comes back to it. So a page gives both up when it is left, and goes on from its
// last event when it is shown again.

const ANSWER_MS = 2_000; // without one, the tab that leads is frozen
const COLLECT_MS = 50; // for the others to say how far they are
const LONGEST_PAUSE_MS = 30_000;

export class SharedStream extends EventTarget {
  #url;
  #types;
  #refresh;
  #name;
  #tab = `${Math.random()}`;
  #channel = null;
  #turn = null; // AbortController: of waiting for the lock, or of holding it
  #leads = false;
  #source = null; // of the tab that leads
  #failures = 0;
  #state = "connecting";
  #listened = ""; // types that #source listens for
  #reached; // position of the last event of #source, null before the first
  #last; // that of the last event which this tab got
  #isHeard = false; // whether the tab that leads knows how far this one is
  #run = { key: "" }; // which connection the last event came by,
  #previous = null; // that event's position,
  #again = null; // and up to which position this tab had been served before

  // `refresh` returns a fresh url, or a promise of one: for a ticket that has expired.
  // Tabs with one `name` share a stream; by default, those with one url but for its ticket.
  constructor(url, { types = ["message"], refresh = null, name = null } = {}) {
    super();
    this.#url = new URL(url, location.href);
    this.#types = new Set([...types, "eric-reset"]);
    this.#refresh = refresh;
    this.#last = number(this.#url.searchParams.get("last_event_id"));
    this.#name = name ?? without(this.#url, "ticket", "last_event_id").href;
    document.addEventListener("visibilitychange", this.#look);
    window.addEventListener("pagehide", this.#leave);
    window.addEventListener("pageshow", this.#show);
    this.#join();
  }

  close() {
    document.removeEventListener("visibilitychange", this.#look);
    window.removeEventListener("pagehide", this.#leave);
    window.removeEventListener("pageshow", this.#show);
    this.#leave();
  }

  // Whether the page is there ------------------------------------------------------

  #join() {
    if (!navigator.locks || !window.BroadcastChannel) {
      this.#open(this.#last); // without https a tab must do for itself
      return;
    }
    this.#channel = new BroadcastChannel(`eric-sse ${this.#name}`);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.#wait();
    this.#greet();
  }

  #leave = () => {
    this.#turn?.abort();
    this.#follow();
    this.#channel?.close();
    this.#channel = null;
  };

  #show = ({ persisted }) => {
    if (!persisted) return this.#look();
    this.#leave(); // a browser may have skipped it
    this.#join();
  };

  // Who leads ----------------------------------------------------------------------

  async #wait(steal = false) {
    this.#turn?.abort();
    const turn = (this.#turn = new AbortController());
    const over = new Promise((resolve) => turn.signal.addEventListener("abort", resolve));
    const options = steal ? { steal } : { signal: turn.signal };
    const hold = () => (this.#lead(), over);
    try {
      await navigator.locks.request(`eric-sse ${this.#name}`, options, hold);
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    }
    if (this.#turn !== turn) return;
    this.#follow(); // the lock was taken from us, or close() gave it back
    if (turn.signal.aborted) return;
    this.#wait();
    this.#greet();
  }

  #lead() {
    this.#leads = true;
    this.#reached = this.#last;
    this.#post({ kind: "who" });
    setTimeout(() => this.#leads && !this.#source && this.#open(this.#reached), COLLECT_MS);
  }

  #follow() {
    this.#leads = false;
    this.#source?.close();
    this.#source = null;
  }

  // A tab that comes to the front may have slept, or the one that leads may sleep.
  #look = () => {
    if (document.visibilityState === "visible" && !this.#leads) this.#greet();
  };

  #greet() {
    this.#isHeard = false;
    const channel = this.#channel;
    const { href } = this.#url;
    this.#post({ kind: "hello", tab: this.#tab, last: this.#last, types: [...this.#types], href });
    setTimeout(() => {
      const isNeeded = !this.#isHeard && !this.#leads && document.visibilityState === "visible";
      if (isNeeded && channel && channel === this.#channel) this.#wait(true);
    }, ANSWER_MS);
  }

  #post(message) {
    this.#channel?.postMessage(message);
  }

  #hear(message) {
    if (message.kind === "hello") this.#meet(message);
    else if (this.#leads) return; // who led before us, and slept, wakes up
    else if (message.kind === "event") this.#receive(message);
    else if (message.kind === "state") this.#say(message.state);
    else if (message.kind === "who") this.#greet();
    else if (message.kind === "here" && message.tab === this.#tab) {
      this.#isHeard = true;
      this.#begin(message.run, message.reached);
      this.#last ??= message.reached;
      for (const type of message.types) this.#types.add(type);
      this.#say(message.state);
    }
  }

  // Another tab: have the stream go back to where that one is, if it is behind.
  #meet({ tab, last, types, href }) {
    for (const type of types) this.#types.add(type);
    if (!this.#leads) return;
    const isBehind = last !== null && (this.#reached === null || last < this.#reached);
    this.#url = new URL(href); // its ticket is younger
    this.#post({
      ...{ kind: "here", tab, types: [...this.#types], state: this.#state },
      ...{ run: this.#run, reached: this.#reached },
    });
    if (isBehind) this.#reached = last;
    const isDeaf = [...this.#types].join() !== this.#listened;
    if (this.#source && (isBehind || isDeaf)) this.#open(this.#reached);
  }

  // What comes ---------------------------------------------------------------------

  #open(from) {
    this.#source?.close();
    this.#reached = from;
    const url = without(this.#url, "last_event_id");
    if (from !== null) url.searchParams.set("last_event_id", from);
    const run = { key: `${Math.random()}`, start: from };
    this.#begin(run, from);
    const source = new EventSource(url, { withCredentials: url.origin !== location.origin });
    this.#source = source;
    this.#listened = [...this.#types].join();
    for (const type of this.#types) {
      source.addEventListener(type, ({ data, lastEventId: id }) => {
        const message = { kind: "event", run, after: this.#reached, type, data, id };
        this.#reached = number(id) ?? this.#reached;
        this.#post(message);
        this.#receive(message);
      });
    }
    source.onopen = () => {
      this.#failures = 0;
      this.#tell("live");
    };
    source.onerror = () => {
      this.#tell("reconnecting");
      // The browser comes back by itself, but after an answer that is no stream.
      if (source === this.#source && source.readyState === EventSource.CLOSED) this.#retry(source);
    };
  }

  async #retry(source) {
    const most = Math.min(LONGEST_PAUSE_MS, 500 * 2 ** this.#failures++);
    await new Promise((resolve) => setTimeout(resolve, most * (0.5 + Math.random() / 2)));
    try {
      const fresh = source === this.#source && (await this.#refresh?.());
      if (fresh) this.#url = new URL(fresh, location.href);
    } catch (error) {
      console.warn(error);
    }
    if (source === this.#source) this.#open(this.#reached);
  }

  #receive({ run, after, type, data, id }) {
    if (this.#channel && !this.#leads) {
      if (!this.#isHeard) return; // it comes again
      if (run.key !== this.#run.key) this.#begin(run, run.start);
      if (after !== this.#previous) return this.#greet(); // one was lost between the tabs
    }
    const position = number(id);
    // Somebody was behind: what we had comes again, in its order. What goes back is a replay.
    const isAgain = this.#again !== null && position > this.#previous && position <= this.#again;
    this.#previous = position ?? this.#previous;
    if (isAgain) return;
    this.#again = null;
    this.#last = position ?? this.#last;
    this.dispatchEvent(new MessageEvent(type, { data, lastEventId: id, origin: this.#url.origin }));
  }

  #begin(run, reached) {
    this.#run = run;
    this.#previous = reached;
    this.#again = this.#last;
  }

  #tell(state) {
    this.#post({ kind: "state", state });
    this.#say(state);
  }

  #say(state) {
    this.#state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }
}

function number(text) {
  return text === null || text === "" ? null : Number(text);
}

function without(url, ...names) {
  const copy = new URL(url);
  for (const name of names) copy.searchParams.delete(name);
  return copy;
}
