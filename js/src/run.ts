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
  /** How many chunks these are: the index of the next one. */
  readonly index: number;
  readonly progress: Progress | null;
  /** Once it has finished. */
  readonly result?: Result;
  /** Once it has failed. */
  readonly error?: string;
}

/** Chunks from an index on, one after the other: texts, joined, of these lengths; or values. */
export type Chunks<Value = unknown> =
  | { i: number; n: number; text: string; l?: number[] }
  | { i: number; data: Value[] };

export interface RunEvents<Result = unknown, Value = unknown> {
  run: { status: RunStatus; progress: Progress | null };
  "run-chunk": Chunks<Value>;
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
  index: 0,
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
      return add(run, data);
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

// The log may have a chunk twice: when the output of a run was made compact.
function add<Result, Value>(run: Run<Result, Value>, chunks: Chunks<Value>): Run<Result, Value> {
  const skipped = Math.max(0, run.index - chunks.i);
  const index = chunks.i + ("text" in chunks ? chunks.n : chunks.data.length);
  if (index <= run.index) return run;
  const written = { ...run, status: "running" as const, index };
  if ("text" in chunks) return { ...written, text: run.text + textOf(chunks, skipped) };
  return { ...written, values: [...run.values, ...chunks.data.slice(skipped)] };
}

// Lengths are in characters; those of JavaScript's strings are not.
function textOf({ text, l = [] }: { text: string; l?: number[] }, skipped: number): string {
  if (!skipped) return text;
  const length = l.slice(0, skipped).reduce((sum, each) => sum + each, 0);
  return [...text].slice(length).join("");
}
