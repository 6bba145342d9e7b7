// A stream as a value that changes: without a framework, and below those of the others.

import { connect } from "./index.js";
import { reduceRun, type Run, runBefore, type RunEvents } from "./run.js";
import type { Message, Options, State } from "./types.js";

type TypeOf<Events> = keyof Events & string;

/** A message of one of the types of `Events`. */
export type MessageOf<Events> = {
  [Type in TypeOf<Events>]: Message<Events[Type], Type>;
}[TypeOf<Events>];

export interface StoreOptions<Events, Value> extends Omit<Options<Events>, "onmessage"> {
  /** The value before the first message: what the page shows at the position of its path. */
  initial: Value;
  /** Returns the value after a message. Called once for each message, in order. */
  reduce: (value: Value, message: MessageOf<Events>) => Value;
  /** Loads the present value, after messages are gone. Without it, the page is reloaded. */
  load?: () => Value | Promise<Value>;
}

export type RunOptions<Result, Value> = Omit<Options<RunEvents<Result, Value>>, "onmessage">;

export interface Snapshot<Value> {
  readonly value: Value;
  readonly state: State;
}

/** The stream is open while somebody subscribes. */
export interface Store<Value> {
  get(): Snapshot<Value>;
  subscribe(listener: () => void): () => void;
}

export function useStream<Events extends object, Value>(
  url: string | URL,
  options: StoreOptions<Events, Value>,
): Store<Value> {
  const { initial, reduce, load, ...others } = options;
  const listeners = new Set<() => void>();
  let snapshot: Snapshot<Value> = { value: initial, state: "connecting" };
  let last: string | null = null;
  const set = (changed: Partial<Snapshot<Value>>) => {
    snapshot = { ...snapshot, ...changed };
    for (const listener of listeners) listener();
  };
  const open = () =>
    connect<Events>(after(url, last), {
      onreset: load ? async () => set({ value: await load() }) : "reload",
      ...others,
      onstate: (state) => (set({ state }), options.onstate?.(state)),
      onmessage: (message) => {
        last = message.id || last;
        if (message.type.split("/").at(-1) === "eric-reset") return;
        set({ value: reduce(snapshot.value, message as MessageOf<Events>) });
      },
    });
  let stream: ReturnType<typeof open> | null = null;
  return {
    get: () => snapshot,
    subscribe: (listener) => {
      listeners.add(listener);
      if (!stream) set({ state: "connecting" });
      stream ??= open();
      return () => {
        listeners.delete(listener);
        if (listeners.size) return;
        stream?.close();
        stream = null;
      };
    },
  };
}

/** The output of a run, from its first chunk on. */
export function useRun<Result = unknown, Value = unknown>(
  url: string | URL,
  options: RunOptions<Result, Value> = {},
): Store<Run<Result, Value>> {
  const initial = runBefore<Result, Value>();
  const run: Store<Run<Result, Value>> = useStream<RunEvents<Result, Value>, typeof initial>(url, {
    share: false, // a later tab needs the output from its beginning too
    // After a reset the output comes from its beginning; the progress came before.
    load: () => ({ ...initial, progress: run.get().value.progress }),
    ...options,
    initial,
    reduce: reduceRun,
  });
  return run;
}

/** The path to continue at, for somebody who subscribes again. */
function after(url: string | URL, last: string | null): URL {
  const path = new URL(url, location.href);
  if (last !== null) path.searchParams.set("last_event_id", last);
  return path;
}

export type { Run, RunEvents } from "./run.js";
export type { State } from "./types.js";
