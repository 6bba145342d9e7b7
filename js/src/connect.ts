import { Acknowledger, pathsOf, poster } from "./acknowledger.js";
import { report } from "./report.js";
import { persist, reload } from "./reset.js";
import { type Frame, positionOf, Source } from "./source.js";
import { canShare, type Tab, Tabs } from "./tabs.js";
import type { Acknowledge, Message, Options, Reset, State, Stream } from "./types.js";

// Messages that wait for a consumer; when exceeded, they are dropped, and it gets a reset.
const MAX_WAITING = 10_000;

type Any = Message;
type AnyOptions = Options<Record<string, unknown>>;
type Consumer = (message: Any) => unknown;
/** A message that waits; `done` is called when it is processed, if a loop had it before. */
type Waiting = { message: Any; done?: () => void };

/**
 * Open a stream, and keep it open. Messages wait until the first on() or loop, or are given to
 * `onmessage`. Each comes once and in order; if some are gone, `onreset` is called.
 */
export function connect<Events extends object = Record<string, unknown>>(
  url: string | URL,
  options: Options<Events> = {},
): Stream<Events> {
  const client: unknown = new Client(absolute(url), options as unknown as AnyOptions);
  return client as Stream<Events>;
}

class Client implements Tab {
  url: URL;
  last: string | null;
  isNew = true;
  state: State = "connecting";
  readonly refresh: (() => Promise<URL>) | null;
  readonly silence: number | null;
  #options: AnyOptions;
  #name: string;
  #link: Tabs | Source | null = null;
  #consumers = new Set<Consumer>();
  #isStarted = false; // by the first consumer
  #isLoading = false; // by onreset()
  #waiting: Waiting[] | null = []; // while it is not started, or is loading
  #left: (() => void) | null = null; // ends the message at which a loop was left
  #acknowledger: Acknowledger | null;
  #processed: string | null;
  #inOrder = Promise.resolve();
  #ends = new Set<() => void>();

  constructor(url: URL, options: AnyOptions) {
    this.url = url;
    this.#options = options;
    this.last = this.#processed = url.searchParams.get("last_event_id");
    this.refresh = refresher(options.refresh);
    this.silence = options.silence ?? null;
    this.#name = typeof options.share === "string" ? options.share : nameOf(url);
    const send = sender(options.acknowledge, () => this.url);
    this.#acknowledger = send && new Acknowledger(send, () => this.#leads());
    if (options.onmessage) this.#add(options.onmessage);
    this.#listen();
    const page = globalThis.document as { prerendering?: boolean } | undefined;
    if (!page?.prerendering) this.#open(); // else once it is shown, if ever
  }

  get lastEventId(): string {
    return this.last ?? "";
  }

  on(type: string, listener: (data: unknown, message: Any) => unknown): () => void {
    return this.#add((message) => message.type === type && listener(message.data, message));
  }

  close(): void {
    if (this.state !== "ended") this.setState("closed");
  }

  // The connection -------------------------------------------------------------------

  #open(): void {
    const isShared = (this.#options.share ?? true) && canShare();
    this.#link ??= isShared ? new Tabs(this, this.#name) : new Source(this, this.last);
  }

  #shut(): void {
    void this.#acknowledger?.flush(true);
    this.#link?.close();
    this.#link = null;
  }

  #leads(): boolean {
    return this.#link instanceof Tabs ? this.#link.leads : this.#link !== null;
  }

  // A browser may keep a page that was left, with its connections and locks, and freeze it.
  #listen(): void {
    type Listener = (event: Event) => void;
    const add = (target: EventTarget | undefined, type: string, listener: Listener) => {
      target?.addEventListener?.(type, listener);
      this.#ends.add(() => target?.removeEventListener?.(type, listener));
    };
    const page = globalThis.document;
    const shown = () => {
      if (page.hidden) return;
      this.#open(); // if a browser fired no event when it resumed the page
      this.#link?.hasten();
    };
    add(globalThis, "online", () => this.#link?.hasten(true));
    add(page, "visibilitychange", shown);
    add(page, "freeze", () => this.#shut());
    add(page, "resume", () => this.#open());
    add(page, "prerenderingchange", () => this.#open());
    add(page && globalThis, "pagehide", () => this.#shut());
    add(page && globalThis, "pageshow", (event) => {
      if ((event as PageTransitionEvent).persisted) this.#shut();
      this.#open();
    });
  }

  // To reconnect with an id acknowledges it.
  idToSend(reached: string | null): string | null {
    if (!this.#acknowledger) return reached;
    return Number(this.#processed) < Number(reached) ? this.#processed : reached;
  }

  beat(): void {}

  setState(state: State): void {
    if (state === this.state || this.state === "closed" || this.state === "ended") return;
    this.state = state;
    if (state === "closed" || state === "ended") {
      this.#shut();
      for (const end of this.#ends) end();
    }
    this.#done("", [call(() => this.#options.onstate?.(state))]);
  }

  // Messages -------------------------------------------------------------------------

  receive(frame: Frame): void {
    this.take(frame);
  }

  take({ after, id, type, data, isBack }: Frame): boolean {
    if (!this.#link) return false;
    const position = positionOf(id);
    const last = positionOf(this.last);
    if (position !== null && last !== null && !isBack) {
      if (position <= last) return false; // a repeat
      if (after !== null && after > last) return true;
    }
    if (id) this.last = id;
    if (type !== null) this.#parse(type, data, id);
    return false;
  }

  #parse(type: string, text: string, id: string): void {
    const { types, parse = (json: string): unknown => JSON.parse(json) } = this.#options;
    if (types && !isReset(type) && !types.includes(type)) return this.#done(id, []);
    let data: unknown;
    try {
      data = isReset(type) ? JSON.parse(text) : parse(text, type);
    } catch (error) {
      return this.#done(id, [Promise.reject(error)]);
    }
    this.#deliver({ type, data, id });
  }

  #deliver(message: Any, done?: () => void): void {
    if (this.#waiting) {
      this.#waiting.push(done ? { message, done } : { message });
      if (this.#waiting.length > MAX_WAITING) this.#waiting = [{ message: gone(this.#waiting) }];
      return;
    }
    const results = [...this.#consumers].map((consumer) => call(() => consumer(message)));
    if (isReset(message.type)) results.push(this.#reset(message as Message<Reset>));
    if (done) Promise.all(results).then(done, report);
    else this.#done(message.id, results);
  }

  #reset({ type, data }: Message<Reset>): unknown {
    const { onreset } = this.#options;
    if (!onreset) return console.error("eric-sse: messages are gone; give an onreset", data);
    const reset = type === RESET ? data : { ...data, channel: type.slice(0, -RESET.length - 1) };
    const load = () => (onreset === "reload" ? reload() : onreset(reset));
    const result = call(load);
    if (!(result instanceof Promise)) return result;
    this.#waiting = [];
    this.#isLoading = true;
    const loaded = result.catch((error: unknown) => {
      report(error);
      return persist(() => this.state === "closed" || load(), 1);
    });
    return loaded.finally(() => {
      this.#isLoading = false;
      this.#resume();
    });
  }

  #resume(): void {
    if (this.#isLoading || !this.#isStarted) return;
    const waiting = this.#waiting ?? [];
    this.#waiting = null;
    for (const { message, done } of waiting) this.#deliver(message, done);
  }

  // A message is processed when all that it was given to have ended, and those before it have.
  // If one fails, neither it nor what follows is acknowledged.
  #done(id: string, results: unknown[]): void {
    const ended = Promise.all(results);
    ended.catch(report);
    if (!this.#acknowledger || positionOf(id) === null) return;
    this.#inOrder = this.#inOrder.then(async () => {
      await ended;
      this.#processed = id;
      this.#acknowledger?.processed(Number(id));
    });
    this.#inOrder.catch(() => {});
  }

  // Consumers ------------------------------------------------------------------------

  #add(consumer: Consumer): () => void {
    this.#consumers.add(consumer);
    if (!this.#isStarted) queueMicrotask(() => this.#resume());
    this.#isStarted = true;
    this.#left?.();
    this.#left = null;
    return () => this.#consumers.delete(consumer);
  }

  // What a loop that was left has not taken, and what comes, waits for the next loop or listener.
  #leave(queue: Waiting[], done: (() => void) | undefined): void {
    this.#isStarted = false;
    this.#waiting = [...queue, ...(this.#waiting ?? [])];
    this.#left = done ?? null;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Any> {
    const queue: Required<Waiting>[] = [];
    let taken: Required<Waiting> | undefined;
    let wake = () => {};
    const end = () => wake();
    const remove = this.#add((message) => {
      if (queue.length >= MAX_WAITING) {
        const dropped = queue.splice(0);
        for (const { done } of dropped) done();
        message = gone([...dropped, { message }]);
      }
      const done = new Promise<void>((resolve) => queue.push({ message, done: resolve }));
      wake();
      return done;
    });
    this.#ends.add(end);
    try {
      for (;;) {
        taken = queue.shift();
        if (taken) {
          yield taken.message;
          taken.done();
        } else if (this.state === "closed" || this.state === "ended") return;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      remove();
      this.#ends.delete(end);
      if (!this.#consumers.size) this.#leave(queue, taken?.done);
    }
  }
}

const RESET = "eric-reset";
const isReset = (type: string) => type === RESET || type.endsWith(`/${RESET}`);
const absolute = (url: string | URL) => new URL(url, globalThis.location?.href);

function call(run: () => unknown): unknown {
  try {
    return run();
  } catch (error) {
    return Promise.reject(error);
  }
}

/** A reset in place of messages that were dropped. */
function gone(messages: Waiting[]): Any {
  const [first, last] = [messages[0]?.message, messages.at(-1)?.message];
  const data = { after: Number(first?.id) - 1, floor: Number(last?.id) };
  return { type: RESET, data, id: last?.id ?? "" };
}

function nameOf(url: URL): string {
  const copy = new URL(url);
  for (const field of ["ticket", "last_event_id"]) copy.searchParams.delete(field);
  return copy.href;
}

function sender(option: AnyOptions["acknowledge"], url: () => URL): Acknowledge | null {
  if (!option) return null;
  if (typeof option === "function") return option;
  return poster(() => (option === true ? pathsOf(url()) : [option]));
}

function refresher(option: AnyOptions["refresh"]): (() => Promise<URL>) | null {
  if (!option) return null;
  const fresh = typeof option === "function" ? option : () => fetched(option);
  return async () => absolute(await fresh());
}

async function fetched(view: string): Promise<string> {
  const response = await fetch(view, { cache: "no-store" });
  const isJson = response.headers.get("content-type")?.includes("json");
  const text = (await response.text()).trim();
  // A page, such as that of a login, is not a path.
  if (response.ok && isJson) return (JSON.parse(text) as { url: string }).url;
  if (response.ok && text && !/[\s<>]/.test(text)) return text;
  throw new Error(`no new path of the stream: ${response.status} of ${response.url}`);
}
