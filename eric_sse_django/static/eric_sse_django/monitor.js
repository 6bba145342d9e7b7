// The live monitor: one stream from the server, shown as charts and tables.
//
// The page names the client's file: an import by name fails if static files have a hash in their
// names, or if a cache keeps the old ones.

// Numbers and times, in the page's language --------------------------------------

const LANGUAGE = document.documentElement.lang || undefined;
const plain = new Intl.NumberFormat(LANGUAGE, { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat(LANGUAGE, { maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(LANGUAGE, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hour12: false,
});
const UNITS = [["day", 86_400], ["hour", 3_600], ["minute", 60], ["second", 1]];
const LENGTHS = Object.fromEntries(
  UNITS.map(([unit]) => [unit, inUnit(unit, 0)]),
);
const DELAYS = { ms: inUnit("millisecond", 0), tenths: inUnit("millisecond", 1), s: inUnit("second", 1) };
const DASH = "–";

function inUnit(unit, digits) {
  const options = { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: digits };
  return new Intl.NumberFormat(LANGUAGE, options);
}

const whole = (value) => (value == null ? DASH : plain.format(value));

function rate(value) {
  if (value == null) return DASH;
  return value && value < 10 ? tenths.format(value) : plain.format(value);
}

// "1,000+" if counting stopped there; never "0+".
const atLeast = (text, isLeast) => (isLeast && text !== plain.format(0) ? `${text}+` : text);

function delay(ms) {
  if (ms == null) return DASH;
  if (ms >= 1_000) return DELAYS.s.format(ms / 1_000);
  return (ms && ms < 10 ? DELAYS.tenths : DELAYS.ms).format(ms);
}

// A duration, in the largest unit that fits.
function length(seconds) {
  const passed = Math.max(0, seconds);
  const [unit, size] = UNITS.find(([, each]) => passed >= each) ?? UNITS.at(-1);
  return LENGTHS[unit].format(Math.floor(passed / size));
}

const relative = new Intl.RelativeTimeFormat(LANGUAGE, { style: "short" });
const minutesAgo = (minutes) => relative.format(-minutes, "minute");

const timeOfDay = (iso) => clock.format(new Date(iso));

// A text of the page with its {placeholders} replaced.
const fill = (text, values) =>
  text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);

// Charts ----------------------------------------------------------------------

// Line charts of the last two minutes, in SVG. Colours come from the style sheet.

const NAMESPACE = "http://www.w3.org/2000/svg";
const MARGIN = { top: 8, right: 10, bottom: 18, left: 44 };
const WINDOW_S = 120;
// Samples arrive once a second; a longer interval is drawn as a gap.
const GAP_S = 3.5;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

function node(name, attributes = {}, text = null) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}

// The smallest of 1, 2, 4 or 5 times a power of ten that is not below `value`, so that its half
// is a round number.
function roundTop(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 4, 5, 10].find((step) => step * power >= value) ?? 10);
}

class Chart {
  #svg;
  #series;
  #format;
  #minTop;
  #labels;
  #clip;
  #plot = node("g", { class: "eric-plot" });
  #moving = node("g");
  #frame = node("g");
  #mark = node("g");

  // `series` are keys of the samples; `minTop` is the lowest top of the scale.
  constructor(svg, { series, format, minTop, labels }) {
    this.#svg = svg;
    this.#series = series;
    this.#format = format;
    this.#minTop = minTop;
    this.#labels = labels;
    const id = `${svg.id}-clip`;
    this.#clip = node("rect");
    const clip = node("clipPath", { id });
    clip.append(this.#clip);
    this.#plot.setAttribute("clip-path", `url(#${id})`);
    this.#plot.append(this.#moving);
    svg.replaceChildren(clip, this.#frame, this.#plot, this.#mark);
  }

  // The age in seconds at a position on the screen, null outside the plot.
  ageAt(clientX) {
    const box = this.#svg.getBoundingClientRect();
    const share = (clientX - box.left - MARGIN.left) / (box.width - MARGIN.left - MARGIN.right);
    return share < 0 || share > 1 ? null : (1 - share) * WINDOW_S;
  }

  // `samples` have `t` in seconds, in order; `marked` is one of them or null. `passed` are the
  // seconds since the last sample, by which the lines slide.
  draw(samples, now, marked, passed = 0) {
    const { clientWidth: width, clientHeight: height } = this.#svg;
    if (!width || !height) return;
    const right = width - MARGIN.right;
    const bottom = height - MARGIN.bottom;
    const top = this.#top(samples);
    const place = {
      x: (t) => right - ((now - t) / WINDOW_S) * (right - MARGIN.left),
      y: (value) => bottom - (value / top) * (bottom - MARGIN.top),
      right, bottom, top, now,
    };
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    for (const [key, value] of Object.entries({
      x: MARGIN.left, y: 0, width: Math.max(0, right - MARGIN.left + 5), height: bottom + 1,
    })) this.#clip.setAttribute(key, value);
    this.#frame.replaceChildren(...this.#axes(place));
    const drawn = this.#series.flatMap((key, index) => [...lines(samples, key, place, !index)]);
    this.#moving.replaceChildren(...drawn);
    this.#mark.replaceChildren(...this.#marks(marked, place));
    this.#slide((passed / WINDOW_S) * (right - MARGIN.left), passed);
  }

  #slide(pixels, seconds) {
    if (!pixels || seconds > GAP_S || calm.matches || document.hidden) return;
    for (const running of this.#moving.getAnimations()) running.cancel();
    const steps = [{ transform: `translateX(${pixels}px)` }, { transform: "none" }];
    this.#moving.animate(steps, { duration: seconds * 1_000, easing: "linear" });
  }

  #top(samples) {
    let highest = this.#minTop;
    for (const sample of samples) {
      for (const key of this.#series) highest = Math.max(highest, sample[key] ?? 0);
    }
    return roundTop(highest);
  }

  *#axes({ y, top, right, bottom }) {
    for (const value of [0, top / 2, top]) {
      const at = Math.round(y(value)) + 0.5;
      const kind = value ? "eric-grid" : "eric-axis";
      yield node("line", { class: kind, x1: MARGIN.left, x2: right, y1: at, y2: at });
      yield node("text", { class: "eric-y", x: MARGIN.left - 6, y: at + 3.5 }, this.#format(value));
    }
    const under = bottom + 13;
    yield node("text", { class: "eric-x", x: MARGIN.left, y: under }, this.#labels.first);
    yield node("text", { class: "eric-x eric-last", x: right, y: under }, this.#labels.now);
  }

  *#marks(marked, { x, y, bottom }) {
    if (!marked) return;
    const at = x(marked.t);
    yield node("line", { class: "eric-mark", x1: at, x2: at, y1: MARGIN.top, y2: bottom });
    for (const key of this.#series) {
      if (marked[key] == null) continue;
      yield node("circle", { class: `eric-dot eric-${key}`, cx: at, cy: y(marked[key]), r: 3.5 });
    }
  }
}

function* lines(samples, key, { x, y, bottom }, isFilled) {
  const after = (t) => x(t).toFixed(1);
  for (const run of runs(samples, key)) {
    const points = run.map((sample) => `${after(sample.t)},${y(sample[key]).toFixed(1)}`);
    if (isFilled) {
      const [first, last] = [after(run[0].t), after(run.at(-1).t)];
      const area = `M${first},${bottom}L${points.join("L")}L${last},${bottom}Z`;
      yield node("path", { class: `eric-area eric-${key}`, d: area });
    }
    yield node("path", { class: `eric-line eric-${key}`, d: `M${points.join("L")}` });
  }
  const last = samples.at(-1);
  if (last && last[key] != null) {
    const dot = { class: `eric-dot eric-${key}`, cx: after(last.t), cy: y(last[key]), r: 2.5 };
    yield node("circle", dot);
  }
}

function* runs(samples, key) {
  let run = [];
  for (const sample of samples) {
    const ends = sample[key] == null || (run.length && sample.t - run.at(-1).t > GAP_S);
    if (ends && run.length) {
      yield run;
      run = [];
    }
    if (sample[key] != null) run.push(sample);
  }
  if (run.length) yield run;
}

// Rows of tables --------------------------------------------------------------

// What the server sends is always shown as text.

// A cell is { text, href, title, className, code }. Unchanged parts are not written, so that
// a selection and the focus stay.
function fillRow(row, cells) {
  while (row.cells.length > cells.length) row.lastElementChild.remove();
  cells.forEach((cell, index) => {
    const place = row.cells[index] ?? newCell(row);
    if (place.className !== (cell.className ?? "")) place.className = cell.className ?? "";
    if (place.title !== (cell.title ?? "")) place.title = cell.title ?? "";
    const holder = cell.code ? codeIn(place) : cell.href ? linkIn(place, cell.href) : textIn(place);
    if (holder.textContent !== cell.text) holder.textContent = cell.text;
  });
  return row;
}

function newCell(row) {
  const cell = row.insertCell();
  cell.setAttribute("role", "cell");
  return cell;
}

function linkIn(place, href) {
  let link = place.firstElementChild;
  if (!link) {
    link = document.createElement("a");
    place.replaceChildren(link);
  }
  if (link.getAttribute("href") !== href) link.setAttribute("href", href);
  return link;
}

function codeIn(place) {
  if (!place.firstElementChild) place.replaceChildren(document.createElement("code"));
  return place.firstElementChild;
}

function textIn(place) {
  if (place.firstElementChild) place.replaceChildren();
  return place;
}

function newRow(cells) {
  const row = document.createElement("tr");
  row.setAttribute("role", "row");
  return fillRow(row, cells);
}

// Shows `items` in a table's body, each with toCells(); shows `empty` if there are none.
function fillRows(body, empty, items, toCells) {
  while (body.rows.length > items.length) body.lastElementChild.remove();
  items.forEach((item, index) => {
    const cells = toCells(item);
    if (body.rows[index]) fillRow(body.rows[index], cells);
    else body.append(newRow(cells));
  });
  empty.hidden = items.length > 0;
  body.parentElement.hidden = !items.length;
}

// The URL of an object's page, from the URL for object 0; "" without one.
const pageOf = (url, id) => url.replace("/0/", `/${id}/`);

// The numbers of the last two minutes, and their charts -----------------------------

// Each chart: its name in the page, its numbers, their format, and the lowest top of its scale.
const CHARTS = [
  ["published", ["published_per_s"], rate, 4],
  ["delivered", ["delivered_per_s"], rate, 4],
  ["streams", ["streams"], whole, 4],
  ["waiting", ["waiting"], whole, 4],
  ["delay", ["delay_p50_ms", "delay_p99_ms"], delay, 10],
];
const BOUNDED = { published_per_s: "published_is_least", waiting: "waiting_is_least" };

class Numbers {
  #root;
  #texts;
  #samples = [];
  #age = null; // seconds before now, at the pointer
  #passed = 0;
  #scheduled = false;
  #charts;

  constructor(root, texts) {
    this.#root = root;
    this.#texts = texts;
    const labels = { first: minutesAgo(WINDOW_S / 60), now: texts.now };
    this.#charts = CHARTS.map(([name, series, format, minTop]) => {
      const svg = root.querySelector(`#eric-chart-${name}`);
      const chart = new Chart(svg, { series, format, minTop, labels });
      svg.addEventListener("pointermove", (event) => this.#point(chart.ageAt(event.clientX)));
      svg.addEventListener("pointerleave", () => this.#point(null));
      new ResizeObserver(() => this.#schedule()).observe(svg);
      return { svg, chart, series, format };
    });
  }

  // Seconds since the epoch by the server's clock, at its last sample.
  get now() {
    return this.#samples.at(-1)?.t ?? Date.now() / 1_000;
  }

  get latest() {
    return this.#samples.at(-1);
  }

  // Adds the samples from before this page was opened.
  begin({ names, samples }) {
    const past = samples.map((values) => {
      const sample = Object.fromEntries(names.map((name, index) => [name, values[index]]));
      return { ...sample, t: Date.parse(sample.at) / 1_000 };
    });
    const first = this.#samples[0]?.t ?? Infinity;
    this.#samples.unshift(...past.filter((sample) => sample.t < first));
    this.#schedule();
  }

  add(snapshot) {
    const t = Date.parse(snapshot.at) / 1_000;
    const last = this.#samples.at(-1)?.t;
    if (t <= last) return; // from another server process whose clock is behind
    this.#passed = last ? t - last : 0;
    this.#samples.push({ ...snapshot, processes: null, open_streams: null, messages: null, t });
    while (this.#samples[0].t < t - WINDOW_S - 2) this.#samples.shift();
    this.#schedule();
  }

  // Describes the charts for screen readers.
  describe() {
    for (const { svg, series, format } of this.#charts) {
      const now = series.map((key) => format(this.latest?.[key])).join(" / ");
      const highest = series.map((key) => format(this.#highest(key))).join(" / ");
      const name = svg.dataset.label;
      svg.setAttribute("aria-label", fill(this.#texts.chart, { name, now, highest }));
    }
    const at = this.latest ?? {};
    return fill(this.#texts.summary, {
      published: rate(at.published_per_s),
      delivered: rate(at.delivered_per_s),
      streams: whole(at.streams),
      waiting: atLeast(whole(at.waiting), at.waiting_is_least),
      delay: at.delay_p50_ms == null ? this.#texts.unknown : delay(at.delay_p50_ms),
    });
  }

  #highest(key) {
    return this.#samples.reduce((highest, sample) => Math.max(highest, sample[key] ?? 0), 0);
  }

  #point(age) {
    this.#age = age;
    this.#schedule();
  }

  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      this.#draw();
    });
  }

  #draw() {
    const marked = this.#age === null ? null : this.#nearest(this.now - this.#age);
    const shown = marked ?? this.latest;
    for (const { chart, series, format } of this.#charts) {
      chart.draw(this.#samples, this.now, marked, this.#passed);
      for (const key of series) {
        const text = atLeast(format(shown?.[key]), shown?.[BOUNDED[key]]);
        this.#root.querySelector(`#eric-now-${key}`).textContent = text;
      }
    }
    this.#passed = 0;
  }

  #nearest(t) {
    let nearest = null;
    for (const sample of this.#samples) {
      if (!nearest || Math.abs(sample.t - t) < Math.abs(nearest.t - t)) nearest = sample;
    }
    return nearest;
  }
}

// The latest messages, with a filter and a pause button ---------------------------

const MAX_KEPT = 500;
const MAX_SHOWN = 100;

class Tail {
  #body;
  #empty;
  #texts;
  #messageUrl;
  #pause;
  #topic;
  #text;
  #entries = []; // newest last; { message } or { skipped }
  #seen = new Set();
  #held = null; // entries received while paused

  constructor(root, texts) {
    const find = (id) => root.querySelector(`#eric-${id}`);
    this.#body = find("tail");
    this.#empty = find("tail-empty");
    this.#texts = texts;
    this.#messageUrl = root.dataset.message;
    [this.#topic, this.#text, this.#pause] = [find("topic"), find("text"), find("pause")];
    for (const input of [this.#topic, this.#text]) {
      input.addEventListener("input", () => this.#showAll());
    }
    this.#pause.addEventListener("click", () => this.#toggle());
  }

  // `messages` are in order; `skipped` is the number of messages before them that are not
  // included. Messages from before the page was opened are not `fresh`.
  add(messages, skipped, fresh = true) {
    const unseen = messages.filter((message) => !this.#seen.has(message.position));
    if (!unseen.length) return;
    const entries = unseen.map((message) => ({ message, searched: searched(message) }));
    if (skipped) entries.unshift({ skipped });
    for (const { position } of unseen) this.#seen.add(position);
    if (this.#held) {
      this.#held = [...this.#held, ...entries].slice(-MAX_KEPT);
      this.#label();
    } else {
      this.#keep(entries);
      this.#show(entries, fresh);
    }
  }

  #keep(entries) {
    this.#entries.push(...entries);
    for (const { message } of this.#entries.splice(0, this.#entries.length - MAX_KEPT)) {
      if (message) this.#seen.delete(message.position);
    }
  }

  #toggle() {
    const held = this.#held;
    this.#held = held ? null : [];
    this.#pause.setAttribute("aria-pressed", String(!held));
    if (held) {
      this.#keep(held);
      this.#show(held);
    }
    this.#label();
  }

  #label() {
    const count = this.#held?.filter((entry) => entry.message).length ?? 0;
    const label = this.#held ? this.#texts.resume : this.#texts.pause;
    const more = count ? ` (${fill(this.#texts.new, { n: whole(count) })})` : "";
    this.#pause.textContent = label + more;
  }

  #showAll() {
    this.#body.replaceChildren();
    this.#show(this.#entries, false);
  }

  #show(entries, fresh = true) {
    const topic = this.#topic.value.trim().toLowerCase();
    const text = this.#text.value.trim().toLowerCase();
    const matches = ({ message, searched }) =>
      message ? searched.topic.includes(topic) && searched.text.includes(text) : !topic && !text;
    const rows = entries.filter(matches).slice(-MAX_SHOWN).map((entry) => this.#row(entry));
    for (const row of rows) row.classList.toggle("eric-fresh", fresh);
    this.#body.prepend(...rows.reverse());
    while (this.#body.rows.length > MAX_SHOWN) this.#body.lastElementChild.remove();
    this.#empty.hidden = this.#body.rows.length > 0;
    this.#empty.textContent =
      topic || text ? this.#texts.none_match : this.#texts.no_messages;
  }

  #row({ message, skipped }) {
    if (skipped) {
      const row = newRow([{ text: fill(this.#texts.skipped, { n: whole(skipped) }) }]);
      row.cells[0].colSpan = 6;
      row.className = "eric-skipped";
      return row;
    }
    const href = this.#messageUrl && pageOf(this.#messageUrl, message.id);
    return newRow([
      { text: String(message.position), href, className: "eric-position" },
      { text: timeOfDay(message.at), title: message.at, className: "eric-time" },
      { text: message.channel, className: "eric-channel" },
      { text: message.type, className: "eric-type" },
      { text: this.#to(message), className: isToAll(message) ? "eric-recipient eric-all" : "eric-recipient" },
      { text: message.payload + (message.is_cut ? "…" : ""), className: "eric-json", code: true },
    ]);
  }

  #to(message) {
    if (isToAll(message)) return this.#texts.everyone;
    return message.listener ?? fill(this.#texts.all_of, { n: message.owner });
  }
}

const isToAll = ({ listener, owner }) => listener === null && owner === null;

// The texts that the filters search.
function searched({ channel, type, payload, listener, owner }) {
  return {
    topic: `${channel}\n${type}`.toLowerCase(),
    text: `${payload}\n${listener ?? ""}\n${owner ?? ""}`.toLowerCase(),
  };
}

// The page --------------------------------------------------------------------

// Seconds between two summaries for screen readers.
const SUMMARY_S = 15;
// Seconds without a snapshot after which the page shows it, and after which it reconnects.
const SILENT_S = 4;
const BROKEN_S = 10;

class MonitorPage {
  #root = document.getElementById("eric-monitor");
  #texts = JSON.parse(document.getElementById("eric-texts").textContent);
  #status = document.getElementById("eric-status");
  #numbers = new Numbers(this.#root, this.#texts);
  #tail = new Tail(this.#root, this.#texts);
  #receivedAt = null; // performance.now() of the last snapshot
  #describedAt = -Infinity;

  async open() {
    const { client, events } = this.#root.dataset;
    const { connect } = await import(client);
    const onstate = (state) => this.#showState(state);
    // Not shared: each connection begins with the history.
    const stream = connect(events, { onstate, share: false, silence: BROKEN_S });
    stream.on("history", (history) => this.#begin(history));
    stream.on("snapshot", (snapshot) => this.#show(snapshot));
    setInterval(() => this.#checkSilence(), 1_000);
  }

  #begin(history) {
    this.#numbers.begin(history);
    this.#tail.add(history.messages, 0, false);
  }

  #show(snapshot) {
    const isFirst = this.#receivedAt === null;
    this.#receivedAt = performance.now();
    this.#setStatus("live", this.#texts.live);
    this.#numbers.add(snapshot);
    this.#tail.add(snapshot.messages, snapshot.skipped, !isFirst);
    this.#showStreams(snapshot);
    this.#showProcesses(snapshot.processes);
    if (this.#receivedAt - this.#describedAt >= SUMMARY_S * 1_000) {
      this.#describedAt = this.#receivedAt;
      this.#find("summary").textContent = this.#numbers.describe();
    }
  }

  // The streams that watch a channel are one row for each server process.
  #showStreams({ open_streams: streams, watched, parts: all }) {
    const url = this.#root.dataset.listener;
    fillRows(this.#find("streams"), this.#find("streams-empty"), [...watched, ...streams], (row) =>
      "streams" in row ? this.#watchers(row) : [
        { text: row.listener, href: url && pageOf(url, row.id), className: "eric-name" },
        { text: row.channel, className: "eric-channel" },
        { text: row.owner ?? "–", className: "eric-owner" },
        { text: row.process, className: "eric-where" },
        { text: this.#durationSince(row.opened_at), title: row.opened_at, className: "eric-time" },
      ],
    );
    const shown = watched.reduce((sum, row) => sum + row.streams, streams.length);
    const some = fill(this.#texts.some_streams, { n: whole(shown), all: whole(all) });
    this.#find("streams-some").textContent = shown < all ? some : "";
  }

  #watchers({ channel, process, streams }) {
    const text = streams === 1 ? this.#texts.watcher : this.#texts.watchers;
    return [
      { text: fill(text, { n: whole(streams) }), className: "eric-name eric-all" },
      { text: channel, className: "eric-channel" },
      { text: "–", className: "eric-owner" },
      { text: process, className: "eric-where" },
      { text: "", className: "eric-time" },
    ];
  }

  #showProcesses(processes) {
    fillRows(this.#find("processes"), this.#find("processes-empty"), processes, (process) => [
      { text: process.name, className: "eric-name" },
      { text: this.#durationSince(process.started_at), title: process.started_at, className: "eric-time" },
      { text: whole(process.streams), className: "eric-figure" },
      { text: rate(process.delivered_per_s), className: "eric-figure" },
      { text: delay(process.delay_p50_ms), className: "eric-figure" },
      { text: delay(process.delay_p99_ms), className: "eric-figure" },
    ]);
  }

  // By the server's clock at its last snapshot: the user's clock may be wrong.
  #durationSince(iso) {
    return length(this.#numbers.now - Date.parse(iso) / 1_000);
  }

  // It is live from the first snapshot on.
  #showState(state) {
    if (state === "reconnecting") this.#setStatus("lost", this.#texts.lost);
    else if (state !== "live") this.#setStatus("closed", this.#texts.closed);
  }

  #checkSilence() {
    if (this.#receivedAt === null || this.#status.dataset.state === "closed") return;
    const silent = Math.floor((performance.now() - this.#receivedAt) / 1_000);
    if (silent >= SILENT_S) this.#setStatus("silent", fill(this.#texts.silent, { n: whole(silent) }));
  }

  #setStatus(state, text) {
    if (this.#status.dataset.state !== state) this.#status.dataset.state = state;
    if (this.#status.textContent !== text) this.#status.textContent = text;
  }

  #find(name) {
    return document.getElementById(`eric-${name}`);
  }
}

new MonitorPage().open();
