import { computed, shallowRef, toValue, watchEffect } from "vue";
import type { ComputedRef, MaybeRefOrGetter } from "vue";
import * as store from "./store.js";
import type { Run, RunOptions, Snapshot, Store, StoreOptions } from "./store.js";
import type { State } from "./types.js";

export type Refs<Value> = { value: ComputedRef<Value>; state: ComputedRef<State> };

/** A stream as a value. A path that changes opens another. */
export function useStream<Events extends object, Value>(
  url: MaybeRefOrGetter<string>,
  options: StoreOptions<Events, Value>,
): Refs<Value> {
  return refs(() => store.useStream(toValue(url), options));
}

/** The output of a run. */
export function useRun<Result = unknown, Value = unknown>(
  url: MaybeRefOrGetter<string>,
  options?: RunOptions<Result, Value>,
): Refs<Run<Result, Value>> {
  return refs(() => store.useRun(toValue(url), options));
}

function refs<Value>(make: () => Store<Value>): Refs<Value> {
  const snapshot = shallowRef<Snapshot<Value>>(make().get());
  watchEffect((onCleanup) => {
    const { subscribe, get } = make();
    snapshot.value = get();
    onCleanup(subscribe(() => (snapshot.value = get())));
  });
  return {
    value: computed(() => snapshot.value.value),
    state: computed(() => snapshot.value.state),
  };
}

export type { Run };
