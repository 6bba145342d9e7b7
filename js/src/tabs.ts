// One stream for all tabs of a site in a browser.
//
// Over HTTP/1.1 a browser opens six connections to a site, for all of its tabs together. So one
// tab, the leader, which holds a Web Lock, has the connection, and passes what it receives to the
// other tabs over a BroadcastChannel. When the leader is closed, another tab gets the lock, and
// continues after the last message of the tab that is furthest behind.
//
// Each message is passed on with the position of what came before it. So a tab knows whether it
// is the next one, a repeat, or whether one between them is missing.

import { type Frame, type Host, positionOf, Source } from "./source.js";
import type { State } from "./types.js";

const ANSWER_MS = 2_000; // a leader that does not answer in time is frozen
const COLLECT_MS = 50; // time for the other tabs to send their positions
const TICK_MS = 5_000;
const QUIET_MS = 30_000; // without a word of the leader, after which a visible tab asks

/** What a tab takes of a shared stream. */
export interface Tab extends Host {
  /** The id of the last message of this tab. */
  last: string | null;
  /** The page is new: its path has the newest ticket. */
  isNew: boolean;
  readonly state: State;
  /** Returns whether a message between this frame and the tab's last one is missing. */
  take(frame: Frame): boolean;
}

type Word =
  | ({ kind: "frame" } & Frame)
  | { kind: "state"; state: State; href: string }
  | { kind: "who" } // a new leader asks
  | { kind: "hello"; tab: string; last: string | null; isNew: boolean; href: string; now: boolean }
  | { kind: "here"; tab: string; previous: number | null; reached: string | null };

type Hello = Extract<Word, { kind: "hello" }>;

export const canShare = (): boolean =>
  Boolean(globalThis.navigator?.locks && globalThis.BroadcastChannel && globalThis.document);

/** Whether the stream at `position` has passed what comes after `last`. */
function isBehind(last: string | null, position: number | null): boolean {
  const own = positionOf(last);
  return own !== null && position !== null && own < position;
}

export class Tabs {
  #tab: Tab;
  #name: string;
  #id = `${Math.random()}`;
  #channel: BroadcastChannel;
  #lock: AbortController | null = null; // of the request for the lock, also while it is held
  #leads = false;
  #source: Source | null = null;
  #from: string | null = null; // where the source of a new leader begins
  #question = 0; // the timer that waits for the leader's answer
  #heardAt = Date.now();
  #ticks: ReturnType<typeof setInterval>;

  constructor(tab: Tab, name: string) {
    this.#tab = tab;
    this.#name = `eric-sse 1 ${name}`;
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = ({ data }) => this.#on(data as Word);
    this.#ticks = setInterval(() => {
      if (Math.abs(Date.now() - this.#heardAt) > QUIET_MS) this.#ask();
    }, TICK_MS);
    void this.#requestLock();
    this.#ask();
  }

  get leads(): boolean {
    return this.#leads;
  }

  close(): void {
    clearInterval(this.#ticks);
    clearTimeout(this.#question);
    this.#lock?.abort();
    this.#lock = null;
    this.#follow();
    this.#channel.close();
  }

  hasten(renew = false): void {
    if (this.#leads) this.#source?.hasten(renew);
    else this.#ask(true);
  }

  // The leader -----------------------------------------------------------------------

  async #requestLock(steal = false): Promise<void> {
    this.#lock?.abort();
    const lock = (this.#lock = new AbortController());
    const { signal } = lock;
    const released = new Promise((resolve) => signal.addEventListener("abort", resolve));
    const hold = () => {
      if (signal.aborted) return undefined;
      this.#lead();
      return released;
    };
    try {
      await navigator.locks.request(this.#name, steal ? { steal } : { signal }, hold);
    } catch (error) {
      // Of a page that may not use locks: it has its own stream, as if they did not exist.
      if ((error as Error).name !== "AbortError") return this.#lock === lock ? this.#lead() : void 0;
    }
    if (this.#lock !== lock) return; // close(), or a later request
    this.#follow(); // another tab took the lock
    void this.#requestLock();
    this.#ask();
  }

  #lead(): void {
    this.#leads = true;
    this.#from = this.#tab.last;
    this.#post({ kind: "who" });
    setTimeout(() => {
      if (this.#leads && !this.#source) this.#source = new Source(this.#host(), this.#from);
    }, COLLECT_MS);
  }

  #follow(): void {
    this.#leads = false;
    this.#source?.close();
    this.#source = null;
  }

  #host(): Host {
    const tab = this.#tab;
    const share = (state: State) => {
      this.#post({ kind: "state", state, href: tab.url.href });
      tab.setState(state);
    };
    return {
      get url() {
        return tab.url;
      },
      set url(url) {
        tab.url = url;
      },
      refresh: tab.refresh,
      silence: tab.silence,
      idToSend: (reached) => tab.idToSend(reached),
      receive: (frame) => {
        this.#post({ kind: "frame", ...frame });
        tab.take(frame);
      },
      setState: share,
      beat: () => share(tab.state),
    };
  }

  // Between the tabs -----------------------------------------------------------------

  #post(word: Word): void {
    this.#channel.postMessage(word);
  }

  #on(word: Word): void {
    if (word.kind === "hello") return this.#onHello(word);
    if (this.#leads) return; // of an earlier leader that was frozen
    this.#heardAt = Date.now();
    if (word.kind === "who") this.#ask();
    else if (word.kind === "frame") this.#onFrame(word);
    else if (word.kind === "state") {
      this.#tab.url = new URL(word.href);
      this.#tab.setState(word.state);
    } else if (word.tab === this.#id) this.#onHere(word.previous, word.reached);
  }

  #onFrame(frame: Frame): void {
    if (this.#tab.take(frame) && !this.#question) this.#ask();
  }

  // Sends where this tab is. A leader that has passed this position goes back to it, and one that
  // waits tries `now`: not whenever a tab asks, or many tabs would make it hammer the server.
  #ask(now = false): void {
    if (this.#leads) return;
    clearTimeout(this.#question);
    const { last, url, isNew } = this.#tab;
    this.#post({ kind: "hello", tab: this.#id, last, isNew, href: url.href, now: now || isNew });
    this.#tab.isNew = false;
    this.#question = setTimeout(() => {
      this.#question = 0;
      if (!this.#leads && document.visibilityState === "visible") void this.#requestLock(true);
    }, ANSWER_MS) as unknown as number;
  }

  #onHello({ tab, last, isNew, href, now }: Hello): void {
    if (!this.#leads) return;
    const source = this.#source;
    if (isNew) this.#tab.url = new URL(href);
    const [previous, reached] = [source?.previous ?? null, source?.reached ?? null];
    this.#post({ kind: "here", tab, previous, reached });
    this.#post({ kind: "state", state: this.#tab.state, href: this.#tab.url.href });
    if (isBehind(last, positionOf(this.#from)) || this.#from === null) this.#from = last;
    if (isBehind(last, previous)) source?.restart(last);
    if (now) source?.hasten();
  }

  #onHere(previous: number | null, reached: string | null): void {
    clearTimeout(this.#question);
    this.#question = 0;
    const tab = this.#tab;
    const isNext = !isBehind(tab.last, previous) && isBehind(tab.last, positionOf(reached));
    if (tab.last === null || isNext) tab.last = reached;
  }
}
