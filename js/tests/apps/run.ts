// What the apps of all frameworks show of a run: all of it.

import type { Run } from "eric-sse/store";

export type Result = { words: number };

export function shown(run: Run<Result>, state: string): string {
  return JSON.stringify({ ...run, state });
}
