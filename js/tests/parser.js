// The parser reads what the standard describes, wherever the chunks of the network end.

import assert from "node:assert/strict";
import { build } from "esbuild";

const { outputFiles } = await build({
  absWorkingDir: new URL("..", import.meta.url).pathname,
  entryPoints: ["src/parser.ts"],
  bundle: true,
  format: "esm",
  write: false,
});
const { Parser } = await import(`data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`);

function read(...chunks) {
  const found = [];
  const parser = new Parser({
    event: (...event) => found.push(event),
    position: (id) => found.push(id),
    retry: (ms) => found.push(ms),
    comment: (text) => found.push(`:${text}`),
  });
  for (const chunk of chunks) parser.feed(chunk);
  return found;
}

const CASES = [
  ["data: 1\n\n", [["message", "1", null]]],
  ["event: paid\ndata: 1\nid: 7\n\n", [["paid", "1", "7"]]],
  ["event:paid\ndata:1\ndata:  2\n\n", [["paid", "1\n 2", null]]],
  ["data\n\ndata\ndata\n\n", [["message", "", null], ["message", "\n", null]]],
  ["event: lost\n\ndata: 1\n\n", [["message", "1", null]]],
  ["retry: 3000\nretry: soon\n", [3000]],
  ["retry: 1\nid: 5\n: ok\n\n", [1, "5", ": ok"]], // to an EventSource
  ["retry: 1\nid: 5\n: ok\ndata: 1\n\n", [1, "5", ": ok", ["message", "1", null]]], // to others
  ["id: 5\nevent: a\n: comment\ndata: 1\n\n", [": comment", ["a", "1", "5"]]],
  ["id: 7\0\ndata: 1\n\n", [["message", "1", null]]],
  ["id\ndata: 1\n\n", [["message", "1", ""]]],
  ["unknown: 1\ndata: a:b\n\n", [["message", "a:b", null]]],
  ["data: cut", []],
  ["data: \u2028\u0085\v\n\n", [["message", "\u2028\u0085\v", null]]],
];

for (const [text, expected] of CASES) {
  for (const ends of ["\n", "\r\n", "\r"]) {
    const sent = text.replaceAll("\n", ends);
    // A CR at the end of all may be half of a CRLF: what follows it shows.
    const whole = ends === "\r" ? `${sent}:\n` : sent;
    const wanted = ends === "\r" && !text.endsWith("cut") ? [...expected, ":"] : expected;
    if (text.endsWith("cut") && ends === "\r") continue;
    assert.deepEqual(read(whole), wanted, whole);
    assert.deepEqual(read(...whole), wanted, whole);
    for (let at = 1; at < whole.length; at++) {
      assert.deepEqual(read(whole.slice(0, at), whole.slice(at)), wanted, whole);
    }
  }
}

// A message of many chunks takes a time in proportion to its size: 16 MB took 9 s, and take 0.1 s.
const chunk = "x".repeat(32_768);
const before = performance.now();
const [[, data]] = read("data: ", ...Array(512).fill(chunk), "\n\n");
assert.equal(data.length, 512 * chunk.length);
assert.ok(performance.now() - before < 3_000);
console.log(`${CASES.length} cases`);
