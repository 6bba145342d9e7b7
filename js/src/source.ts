// One connection to the server, opened again and again until it is closed or the server ends it.

import { Parser } from "./parser.js";
import { report } from "./report.js";
import type { State } from "./types.js";

const RETRY_MS = 3_000; // until the server sends a `retry:`
const MIN_RETRY_MS = 100; // whatever it sends
const MAX_RETRY_MS = 2 ** 31 - 1; // a timer that is set to more ends at once
const MIN_PAUSE_MS = 1_000; // after a first failure, and up to MAX_PAUSE_MS after several
const MAX_PAUSE_MS = 30_000;
const HEARTBEAT_S = 15; // until the server sends its own
const HEARTBEATS = 3; // that may be missing before a connection counts as broken
const TICK_MS = 1_000;
const REFUSED_MS = 300_000; // after an answer that a later one may contradict, such as 403
const REFRESH_MS = 30_000; // for a new path
const PASSING = [408, 425, 429]; // and those of a server or proxy that is unavailable

/** A message, or without a type the position up to which there is none. */
export interface Frame {
  /** The position of what came before it in its stream. */
  after: number | null;
  id: string;
  type: string | null;
  data: string;
  /** It goes back: an operator's replay, or a history that the server does not know. */
  isBack: boolean;
}

/** Whose connection it is. */
export interface Host {
  url: URL;
  readonly refresh: (() => Promise<URL>) | null;
  readonly silence: number | null;
  /** The id to send, where messages up to `reached` were received. */
  idToSend(reached: string | null): string | null;
  receive(frame: Frame): void;
  setState(state: State): void;
  /** Called at each heartbeat. */
  beat(): void;
}

export const positionOf = (id: string | null): number | null =>
  id !== null && /^\d+$/.test(id) ? Number(id) : null;

/** Streams that were cut at one time must not reconnect at one time. */
const spread = (ms: number): number => ms * (1 + Math.random() / 2);

export class Source {
  /** The id up to which this stream was received. */
  reached: string | null;
  /** The position of its last message, or where it began. */
  previous: number | null;
  #host: Host;
  #isOpen = true;
  #isLive = false;
  #isMoved = false; // by restart(), while a request was open
  #request = new AbortController();
  #endPause: (() => void) | null = null;
  #retryMs = RETRY_MS;
  #failures = 0;
  #isBack = false;
  #heartbeatS = HEARTBEAT_S;
  #heardAt = 0;

  constructor(host: Host, from: string | null) {
    this.#host = host;
    this.reached = from;
    this.previous = positionOf(from);
    void this.#run();
  }

  close(): void {
    this.#isOpen = false;
    this.#request.abort();
    this.hasten();
  }

  /** Continue after another position. */
  restart(from: string | null): void {
    this.reached = from;
    this.previous = positionOf(from);
    this.#isMoved = true;
    this.#request.abort();
  }

  /** Try again now, if it waits; with `renew`, also if it is open. */
  hasten(renew = false): void {
    if (renew) this.restart(this.reached);
    this.#endPause?.();
  }

  async #run(): Promise<void> {
    while (this.#isOpen) {
      const pauseMs = await this.#connect();
      if (this.#isOpen && pauseMs > 0) await this.#pause(pauseMs);
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#endPause = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  // Returns the milliseconds until the next attempt.
  async #connect(): Promise<number> {
    const request = (this.#request = new AbortController());
    const endWatch = this.#watch();
    this.#isLive = this.#isMoved = false;
    let isCut = false;
    try {
      const response = await this.#fetch(request.signal);
      const isStream = response.headers.get("content-type")?.startsWith("text/event-stream");
      if (response.ok && isStream && response.body) {
        await this.#read(response.body);
      } else {
        request.abort();
        endWatch();
        return await this.#onOther(response);
      }
    } catch {
      if (!this.#isLive && !this.#isMoved && this.#isOpen) return this.#failed();
      isCut = true;
    } finally {
      endWatch();
    }
    if (!this.#isOpen || this.#isMoved) return 0;
    this.#host.setState("reconnecting");
    return isCut ? spread(this.#retryMs) : this.#retryMs; // the server spreads what it ends
  }

  #fetch(signal: AbortSignal): Promise<Response> {
    const url = new URL(this.#host.url);
    const id = this.#host.idToSend(this.reached);
    if (id !== this.reached) [this.reached, this.previous] = [id, positionOf(id)];
    if (id !== null) url.searchParams.set("last_event_id", id);
    const isOwn = url.origin === globalThis.location?.origin;
    return fetch(url, {
      headers: { Accept: "text/event-stream" },
      cache: "no-store",
      credentials: isOwn ? "same-origin" : "include",
      signal,
    });
  }

  async #read(body: ReadableStream<Uint8Array>): Promise<void> {
    const parser = new Parser({
      event: (type, data, id) => this.#receive(type, data, id),
      position: (id) => this.#receive(null, "", id),
      retry: (ms) => (this.#retryMs = Math.max(MIN_RETRY_MS, Math.min(ms, MAX_RETRY_MS / 2))),
      comment: (text) => this.#comment(text),
    });
    const reader = body.getReader();
    const decoder = new TextDecoder();
    this.#isLive = true;
    this.#failures = 0;
    this.#host.setState("live");
    for (;;) {
      const { done, value } = await reader.read();
      if (done || !this.#isOpen || this.#isMoved) return;
      this.#heardAt = Date.now();
      parser.feed(decoder.decode(value, { stream: true }));
    }
  }

  #receive(type: string | null, data: string, id: string | null): void {
    if (!this.#isOpen || this.#isMoved) return;
    const position = positionOf(id);
    const after = positionOf(this.reached);
    const goesBack = position !== null && after !== null && position <= after;
    if (type === null) {
      this.#isBack ||= goesBack && position !== after;
      if (goesBack) return void (this.reached = id);
    }
    const isBack = type !== null && (this.#isBack || goesBack);
    if (id !== null) this.reached = id;
    if (type !== null || this.previous === null) this.previous = position ?? this.previous;
    if (type !== null) this.#isBack = false;
    this.#host.receive({ after, id: id ?? "", type, data, isBack });
  }

  #comment(text: string): void {
    const seconds = /heartbeat=([\d.]+)/.exec(text)?.[1];
    if (seconds) this.#heartbeatS = Number(seconds);
    if (this.#isOpen) this.#host.beat();
  }

  // Ends a request that has been silent for too long. Returns a function that ends the watch.
  #watch(): () => void {
    let checkedAt = (this.#heardAt = Date.now());
    let wasLate = false;
    const timer = setInterval(() => {
      const now = Date.now();
      // After a sleep, what has arrived meanwhile is read before the connection is judged.
      wasLate = Math.abs(now - checkedAt) > 3 * TICK_MS && !wasLate; // or a clock that was set
      checkedAt = now;
      const limit = this.#host.silence ?? HEARTBEATS * Math.max(1, this.#heartbeatS);
      if (!limit || wasLate || Math.abs(now - this.#heardAt) <= limit * 1_000) return;
      this.#host.setState("reconnecting");
      this.restart(this.reached);
    }, TICK_MS);
    return () => clearInterval(timer);
  }

  // What happens after an answer that is not a stream -------------------------------

  async #onOther({ status, headers }: Response): Promise<number> {
    if (status === 204) return this.#end();
    if (status < 500 && !PASSING.includes(status)) return this.#refused();
    return this.#failed(Number(headers.get("retry-after")) * 1_000);
  }

  #end(): number {
    this.#isOpen = false;
    this.#host.setState("ended");
    return 0;
  }

  #failed(leastMs = 0): number {
    this.#host.setState("reconnecting");
    return Math.max(spread(Math.min(leastMs || 0, REFUSED_MS)), this.#backOff(MAX_PAUSE_MS));
  }

  #backOff(maxMs: number): number {
    const longest = Math.min(maxMs, MIN_PAUSE_MS * 2 ** this.#failures++);
    return longest * (0.5 + Math.random() / 2);
  }

  async #refused(): Promise<number> {
    const { refresh } = this.#host;
    const pauseMs = this.#backOff(REFUSED_MS);
    const isFirst = this.#failures === 1; // then a new path usually has access
    this.#host.setState(refresh && isFirst ? "reconnecting" : "refused");
    if (!refresh) return REFUSED_MS * (0.5 + Math.random() / 2); // or until hasten()
    await this.#pause(pauseMs);
    if (!this.#isOpen) return 0;
    const fresh = refresh().then((url) => void (this.#host.url = url), report);
    await Promise.race([fresh, this.#pause(REFRESH_MS)]);
    this.#endPause?.();
    return 0;
  }
}
