// The client against a real server: when it tries again, without hammering and without coming with
// all others; and what loops get.
//
// Timers end at once, so that hours pass in a second; what they were set to is what is checked.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { build } from "esbuild";

const { outputFiles } = await build({
  absWorkingDir: new URL("..", import.meta.url).pathname,
  entryPoints: ["src/index.ts"],
  bundle: true,
  format: "esm",
  write: false,
});
const { connect } = await import(`data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`);

const MANY = 14;
const realTimeout = globalThis.setTimeout;
const realInterval = globalThis.setInterval;
const realNow = Date.now;
let pauses = [];
globalThis.setTimeout = (call, ms, ...rest) => {
  const isOurs = new Error().stack.split("\n")[2].includes("data:"); // not that of fetch()
  if (!isOurs) return realTimeout(call, ms, ...rest);
  pauses.push(ms);
  return realTimeout(call, 1, ...rest);
};
globalThis.setInterval = (call, ms, ...rest) => realInterval(call, 5, ...rest);
const errors = [];
console.error = (error) => errors.push(error);

let answer;
let requests = 0;
const server = createServer((request, response) => {
  requests += 1;
  answer(response);
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const url = `http://127.0.0.1:${server.address().port}/events/orders/till-7/`;

const stream = (text, end = (response) => response.end()) => (response) => {
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  response.write(text, () => end(response));
};
const refused = (status, headers) => (response) => response.writeHead(status, headers).end();
const cut = (response) => response.destroy();

async function until(condition) {
  while (!condition()) await new Promise((resolve) => realTimeout(resolve, 5));
}

// Returns the pauses between many requests.
async function paused(answers, options = {}) {
  answer = answers;
  [pauses, requests] = [[], 0];
  const client = connect(url, options);
  await until(() => requests >= MANY);
  client.close();
  return pauses;
}

const differ = (found) => new Set(found).size > MANY / 2;
const all = (found, condition) => assert.ok(found.length && found.every(condition), `${found}`);

const RULES = {
  async "a server that sends a retry of 0 is not hammered"() {
    all(await paused(stream("retry: 0\n\n")), (ms) => ms >= 100);
  },
  async "a retry that no timer can wait for is not 0"() {
    const found = await paused(stream("retry: 99999999999999999999\n\n"));
    all(found, (ms) => ms > 1_000_000 && ms < 2 ** 31);
  },
  async "a stream that the server ended reconnects after the server's retry"() {
    all(await paused(stream("retry: 700\n\n")), (ms) => ms === 700);
  },
  async "streams that were cut at the same time do not reconnect at the same time"() {
    const found = await paused(stream("retry: 700\n\n", cut));
    all(found, (ms) => ms >= 700 && ms <= 1_050);
    assert.ok(differ(found));
  },
  async "a Retry-After is waited for, not by all at the same time"() {
    const found = await paused(refused(429, { "Retry-After": "90" }));
    all(found, (ms) => ms >= 90_000 && ms <= 135_000);
    assert.ok(differ(found));
  },
  async "a Retry-After of a day, or of no number, has a limit"() {
    all(await paused(refused(503, { "Retry-After": "86400" })), (ms) => ms <= 450_000);
    all(await paused(refused(503, { "Retry-After": "soon" })), (ms) => ms <= 30_000);
  },
  async "a client that stays refused asks for new paths less and less"() {
    for (const refresh of [() => Promise.reject(new Error("logged out")), () => url]) {
      const found = await paused(refused(403), { refresh });
      assert.ok(found.filter((ms) => ms >= 128_000).length >= 4, `${found}`);
    }
  },
  async "a refresh that does not answer is not waited for forever"() {
    await paused(refused(403), { refresh: () => new Promise(() => {}) });
  },
  async "an acknowledgement that is refused is sent less and less"() {
    answer = stream("id: 7\ndata: 1\n\n", () => {});
    pauses = [];
    let sent = 0;
    const acknowledge = () => {
      sent += 1;
      throw new Error("403");
    };
    const client = connect(url, { acknowledge, onmessage() {} });
    await until(() => sent >= MANY);
    client.close();
    assert.ok(pauses.filter((ms) => ms >= 300_000).length >= 4, `${pauses}`);
  },
  async "a loop gets what came after the loop before it was left"() {
    const text = [1, 2, 3, 4, 5].map((n) => `id: ${n}\ndata: ${n}\n\n`).join("");
    answer = stream(text, () => {});
    const acknowledged = [];
    const acknowledge = (position) => acknowledged.push(position);
    const client = connect(url, { acknowledge });
    const got = [];
    for await (const { data } of client) {
      if (got.push(data) === 2) break;
    }
    await until(() => client.lastEventId === "5" && acknowledged.at(-1) === 1);
    for await (const { data } of client) {
      if (got.push(data) === 4) break;
    }
    await until(() => acknowledged.at(-1) === 3);
    client.on("message", (data) => got.push(data));
    await until(() => acknowledged.at(-1) === 5);
    client.close();
    assert.deepEqual(got, [1, 2, 3, 4, 5]);
  },
  async "a clock that is set back hides no silence"() {
    answer = stream(": heartbeat=1\n\n", () => {});
    requests = 0;
    let now = realNow();
    const client = connect(url);
    await until(() => client.state === "live");
    now -= 86_400_000;
    Date.now = () => (now += 500);
    await until(() => requests >= 2);
    Date.now = realNow;
    client.close();
  },
};

for (const [rule, check] of Object.entries(RULES)) {
  const late = realTimeout(() => {
    console.log(`too late: ${rule}`);
    process.exit(1);
  }, 20_000);
  try {
    await check();
  } catch (error) {
    console.log(`${rule}: ${error.message}`);
    process.exitCode = 1;
  }
  clearTimeout(late);
}
process.exit();
