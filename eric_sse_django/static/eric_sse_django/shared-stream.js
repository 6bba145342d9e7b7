// One stream for all tabs of a site in a browser.
//
//   const stream = new SharedStream(url, { types: ["paid"], refresh });
//   stream.addEventListener("paid", ({ data, lastEventId }) => …);
//
// Over HTTP/1.1 a browser opens six connections to a site, for all of its tabs together. So
// one tab, the leader, which holds a Web Lock, has the EventSource, and sends its events to the
// other tabs over a BroadcastChannel. When the leader is closed, another tab gets the lock and
// continues after the last event of the tab that is furthest behind. Each tab gets every event
// after the `last_event_id` of its URL.
//
// A browser may keep a page that the user has left, with its connections and locks, to show it
// again. So a page closes and releases them when it is left, and continues after its last event
// when it is shown again.

const ANSWER_MS = 2_000; // a leader that does not answer in time is frozen
const COLLECT_MS = 50; // time for the other tabs to send their positions
const MAX_RETRY_MS = 30_000;

export class SharedStream extends EventTarget {
  #url;
  #types;
  #refresh;
  #name;
  #tab = `${Math.random()}`;
  #channel = null;
  #lock = null; // AbortController of the request for the lock, also while it is held
  #leads = false;
  #source = null; // the EventSource of the leader
  #failures = 0;
  #state = "connecting";
  #subscribed = ""; // the types that #source listens for
  #reached; // position of the last event of #source, null before the first
  #last; // position of the last event of this tab
  #isKnown = false; // whether the leader knows the position of this tab
  #run = { key: "" }; // the connection of the last event
  #previous = null; // position of the last event of that connection
  #again = null; // position up to which this tab had its events before that connection

  // `refresh` returns a new url, or a promise of one, for when the ticket has expired.
  // Tabs with the same `name` share a stream; the default is the url without its ticket.
  constructor(url, { types = ["message"], refresh = null, name = null } = {}) {
    super();
    this.#url = new URL(url, location.href);
    this.#types = new Set([...types, "eric-reset"]);
    this.#refresh = refresh;
    this.#last = number(this.#url.searchParams.get("last_event_id"));
    this.#name = name ?? without(this.#url, "ticket", "last_event_id").href;
    document.addEventListener("visibilitychange", this.#onVisible);
    window.addEventListener("pagehide", this.#stop);
    window.addEventListener("pageshow", this.#onShow);
    this.#start();
  }

  close() {
    document.removeEventListener("visibilitychange", this.#onVisible);
    window.removeEventListener("pagehide", this.#stop);
    window.removeEventListener("pageshow", this.#onShow);
    this.#stop();
  }

  // The page is shown or left --------------------------------------------------------

  #start() {
    if (!navigator.locks || !window.BroadcastChannel) {
      this.#open(this.#last); // not available without https: each tab has its own stream
      return;
    }
    this.#channel = new BroadcastChannel(`eric-sse ${this.#name}`);
    this.#channel.onmessage = ({ data }) => this.#onMessage(data);
    this.#requestLock();
    this.#greet();
  }

  #stop = () => {
    this.#lock?.abort();
    this.#follow();
    this.#channel?.close();
    this.#channel = null;
  };

  #onShow = ({ persisted }) => {
    if (!persisted) return this.#onVisible();
    this.#stop(); // a browser may not have fired pagehide
    this.#start();
  };

  // The leader -----------------------------------------------------------------------

  async #requestLock(steal = false) {
    this.#lock?.abort();
    const lock = (this.#lock = new AbortController());
    const released = new Promise((resolve) => lock.signal.addEventListener("abort", resolve));
    const options = steal ? { steal } : { signal: lock.signal };
    const hold = () => (this.#lead(), released);
    try {
      await navigator.locks.request(`eric-sse ${this.#name}`, options, hold);
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    }
    if (this.#lock !== lock) return;
    this.#follow(); // another tab took the lock, or close() released it
    if (lock.signal.aborted) return;
    this.#requestLock();
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

  // A tab that becomes visible may have been frozen, or the leader may be frozen.
  #onVisible = () => {
    if (document.visibilityState === "visible" && !this.#leads) this.#greet();
  };

  #greet() {
    this.#isKnown = false;
    const channel = this.#channel;
    const { href } = this.#url;
    this.#post({ kind: "hello", tab: this.#tab, last: this.#last, types: [...this.#types], href });
    setTimeout(() => {
      const isNeeded = !this.#isKnown && !this.#leads && document.visibilityState === "visible";
      if (isNeeded && channel && channel === this.#channel) this.#requestLock(true);
    }, ANSWER_MS);
  }

  #post(message) {
    this.#channel?.postMessage(message);
  }

  #onMessage(message) {
    if (message.kind === "hello") this.#onHello(message);
    else if (this.#leads) return; // from an earlier leader that was frozen
    else if (message.kind === "event") this.#receive(message);
    else if (message.kind === "state") this.#setState(message.state);
    else if (message.kind === "who") this.#greet();
    else if (message.kind === "here" && message.tab === this.#tab) {
      this.#isKnown = true;
      this.#begin(message.run, message.reached);
      this.#last ??= message.reached;
      for (const type of message.types) this.#types.add(type);
      this.#setState(message.state);
    }
  }

  // Answers another tab; if that tab is behind, opens the stream again at its position.
  #onHello({ tab, last, types, href }) {
    for (const type of types) this.#types.add(type);
    if (!this.#leads) return;
    const isBehind = last !== null && (this.#reached === null || last < this.#reached);
    this.#url = new URL(href); // its ticket is newer
    this.#post({
      ...{ kind: "here", tab, types: [...this.#types], state: this.#state },
      ...{ run: this.#run, reached: this.#reached },
    });
    if (isBehind) this.#reached = last;
    const hasNewTypes = [...this.#types].join() !== this.#subscribed;
    if (this.#source && (isBehind || hasNewTypes)) this.#open(this.#reached);
  }

  // Events ---------------------------------------------------------------------------

  #open(from) {
    this.#source?.close();
    this.#reached = from;
    const url = without(this.#url, "last_event_id");
    if (from !== null) url.searchParams.set("last_event_id", from);
    const run = { key: `${Math.random()}`, start: from };
    this.#begin(run, from);
    const source = new EventSource(url, { withCredentials: url.origin !== location.origin });
    this.#source = source;
    this.#subscribed = [...this.#types].join();
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
      this.#shareState("live");
    };
    source.onerror = () => {
      this.#shareState("reconnecting");
      // The browser reconnects by itself, except after an answer that is not a stream.
      if (source === this.#source && source.readyState === EventSource.CLOSED) this.#retry(source);
    };
  }

  async #retry(source) {
    const longest = Math.min(MAX_RETRY_MS, 500 * 2 ** this.#failures++);
    await new Promise((resolve) => setTimeout(resolve, longest * (0.5 + Math.random() / 2)));
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
      if (!this.#isKnown) return; // the leader sends it again
      if (run.key !== this.#run.key) this.#begin(run, run.start);
      if (after !== this.#previous) return this.#greet(); // an event was lost between the tabs
    }
    const position = number(id);
    // If another tab was behind, events of this tab are sent again, in order, and skipped here.
    // A position that goes back is a replay, and is not skipped.
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

  #shareState(state) {
    this.#post({ kind: "state", state });
    this.#setState(state);
  }

  #setState(state) {
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
