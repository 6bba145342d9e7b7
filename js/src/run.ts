// A run: work whose output is a stream.

import type { MessageOf } from "./store.js";

export type RunStatus = "waiting" | "running" | "finished" | "failed" | "stopped" | "lost";

export interface Progress {
  readonly done: number;
  readonly total: number | null;
  readonly text: string;
}

/** What a run has written until now. */
export interface Run<Result = unknown, Value = unknown> {
  readonly status: RunStatus;
  /** Its texts, joined. */
  readonly text: string;
  /** Its other values. */
  readonly values: readonly Value[];
  readonly progress: Progress | null;
  /** Once it has finished. */
  readonly result?: Result;
  /** Once it has failed. */
  readonly error?: string;
}

export interface RunEvents<Result = unknown, Value = unknown> {
  run: { status: RunStatus; progress: Progress | null };
  "run-chunk": { text: string } | { data: Value[] };
  "run-progress": Progress;
  "run-finished": { result: Result };
  "run-failed": { error: string };
  "run-stopped": object;
  "run-lost": object;
}

export const runBefore = <Result, Value>(): Run<Result, Value> => ({
  status: "waiting",
  text: "",
  values: [],
  progress: null,
});

const begun = (status: RunStatus) => (status === "waiting" ? status : "running");

export function reduceRun<Result, Value>(
  run: Run<Result, Value>,
  { type, data }: MessageOf<RunEvents<Result, Value>>,
): Run<Result, Value> {
  switch (type) {
    case "run": // precedes the output, whose end is another message
      return { ...run, progress: data.progress, status: begun(data.status) };
    case "run-chunk":
      if ("text" in data) return { ...run, status: "running", text: run.text + data.text };
      return { ...run, status: "running", values: [...run.values, ...data.data] };
    case "run-progress":
      return { ...run, progress: data };
    case "run-finished":
      return { ...run, status: "finished", result: data.result };
    case "run-failed":
      return { ...run, status: "failed", error: data.error };
    case "run-stopped":
      return { ...run, status: "stopped" };
    case "run-lost":
      return { ...run, status: "lost" };
  }
}
