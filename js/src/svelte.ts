import { type Readable, readable } from "svelte/store";
import * as store from "./store.js";
import type { Run, RunOptions, Snapshot, Store, StoreOptions } from "./store.js";

/** A stream as a store of its value and state: `$orders.value`, `$orders.state`. */
export function useStream<Events extends object, Value>(
  url: string,
  options: StoreOptions<Events, Value>,
): Readable<Snapshot<Value>> {
  return asReadable(store.useStream(url, options));
}

/** The output of a run. */
export function useRun<Result = unknown, Value = unknown>(
  url: string,
  options?: RunOptions<Result, Value>,
): Readable<Snapshot<Run<Result, Value>>> {
  return asReadable(store.useRun(url, options));
}

function asReadable<Value>({ get, subscribe }: Store<Value>): Readable<Snapshot<Value>> {
  return readable(get(), (set) => {
    set(get());
    return subscribe(() => set(get()));
  });
}

export type { Run, Snapshot };
