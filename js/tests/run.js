// What a run has written, whichever part of it the log sends again.

import assert from "node:assert/strict";
import { build } from "esbuild";

const { outputFiles } = await build({
  absWorkingDir: new URL("..", import.meta.url).pathname,
  entryPoints: ["src/run.ts"],
  bundle: true,
  format: "esm",
  write: false,
});
const source = `data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`;
const { reduceRun, runBefore } = await import(source);

const chunks = (...all) =>
  all.reduce((run, data) => reduceRun(run, { type: "run-chunk", data, id: "" }), runBefore());
const a = { i: 0, n: 1, text: "🚀a" };
const b = { i: 1, n: 2, text: "b日c", l: [2, 1] };
const values = { i: 3, data: [{ v: 1 }, null] };
const all = { status: "running", text: "🚀ab日c", values: [{ v: 1 }, null], index: 5, progress: null };

assert.deepEqual(chunks(a, b, values), all);
// As a whole, or in part.
assert.deepEqual(chunks(a, a, b, b, values, values), all);
assert.deepEqual(chunks(a, { i: 0, n: 3, text: "🚀ab日c", l: [2, 2, 1] }, values), all);
assert.deepEqual(chunks(a, b, { i: 3, data: [{ v: 1 }] }, values), all);

const ended = reduceRun(chunks(a, b, values), { type: "run-stopped", data: {}, id: "" });
assert.equal(ended.status, "stopped");
// A repeat does not begin it again; what is new does: another producer continued it.
assert.equal(reduceRun(ended, { type: "run-chunk", data: b, id: "" }), ended);
assert.equal(reduceRun(ended, { type: "run-chunk", data: { i: 5, data: [1] }, id: "" }).index, 6);
