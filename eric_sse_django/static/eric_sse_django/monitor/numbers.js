// The numbers of the last two minutes, and their charts.

import { Chart, WINDOW_S } from "./chart.js";
import { delay, fill, least, minutesAgo, rate, whole } from "./format.js";

// Each chart's name in the page, its numbers, how they are written, and its least scale.
const CHARTS = [
  ["published", ["published_per_s"], rate, 4],
  ["delivered", ["delivered_per_s"], rate, 4],
  ["streams", ["streams"], whole, 4],
  ["waiting", ["waiting"], whole, 4],
  ["delay", ["delay_p50_ms", "delay_p99_ms"], delay, 10],
];
const BOUNDED = { published_per_s: "published_is_least", waiting: "waiting_is_least" };

export class Numbers {
  #root;
  #texts;
  #samples = [];
  #age = null; // seconds before now, where the pointer is
  #passed = 0;
  #scheduled = false;
  #charts;

  constructor(root, texts) {
    this.#root = root;
    this.#texts = texts;
    const words = { first: minutesAgo(WINDOW_S / 60), now: texts.now };
    this.#charts = CHARTS.map(([name, series, format, top]) => {
      const svg = root.querySelector(`#eric-chart-${name}`);
      const chart = new Chart(svg, { series, format, least: top, words });
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

  // What others saw before this page was opened.
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
    if (t <= last) return; // another server process, whose clock is behind
    this.#passed = last ? t - last : 0;
    this.#samples.push({ ...snapshot, processes: null, open_streams: null, messages: null, t });
    while (this.#samples[0].t < t - WINDOW_S - 2) this.#samples.shift();
    this.#schedule();
  }

  // For who cannot see the charts: what they show now, in words.
  describe() {
    for (const { svg, series, format } of this.#charts) {
      const now = series.map((key) => format(this.latest?.[key])).join(" / ");
      const most = series.map((key) => format(this.#most(key))).join(" / ");
      const name = svg.dataset.label;
      svg.setAttribute("aria-label", fill(this.#texts.chart, { name, now, most }));
    }
    const at = this.latest ?? {};
    return fill(this.#texts.summary, {
      published: rate(at.published_per_s),
      delivered: rate(at.delivered_per_s),
      streams: whole(at.streams),
      waiting: least(whole(at.waiting), at.waiting_is_least),
      delay: at.delay_p50_ms == null ? this.#texts.unknown : delay(at.delay_p50_ms),
    });
  }

  #most(key) {
    return this.#samples.reduce((most, sample) => Math.max(most, sample[key] ?? 0), 0);
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
        const text = least(format(shown?.[key]), shown?.[BOUNDED[key]]);
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

