import { useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import * as store from "./store.js";
import type { Run, RunOptions, Snapshot, Store, StoreOptions } from "./store.js";

/** A stream as a value. The component is rendered again when it changes. */
export function useStream<Events extends object, Value>(
  url: string,
  options: StoreOptions<Events, Value>,
): Snapshot<Value> {
  const latest = useRef(options);
  useEffect(() => void (latest.current = options));
  return useStore(() => {
    const reduce: typeof options.reduce = (value, message) => latest.current.reduce(value, message);
    return store.useStream(url, { ...options, reduce });
  }, url);
}

/** The output of a run. */
export function useRun<Result = unknown, Value = unknown>(
  url: string,
  options?: RunOptions<Result, Value>,
): Snapshot<Run<Result, Value>> {
  return useStore(() => store.useRun(url, options), url);
}

function useStore<Value>(make: () => Store<Value>, url: string): Snapshot<Value> {
  const { subscribe, get } = useMemo(make, [url]);
  return useSyncExternalStore(subscribe, get, get);
}

export type { Run, Snapshot };
