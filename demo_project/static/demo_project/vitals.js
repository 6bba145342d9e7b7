// The load, memory and network of the machine: two charts and four numbers.

import { Chart } from "./chart.js";

const WINDOW_S = 90;

const percent = (value) => `${Math.round(value)} %`;

export function bytes(value) {
  let unit = 0;
  while (value >= 1000 && unit < 3) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit && value < 10 && value % 1 ? 1 : 0;
  return `${value.toFixed(digits)} ${["B", "kB", "MB", "GB"][unit]}/s`;
}

const FORMATS = { cpu: percent, memory: percent, received: bytes, sent: bytes };

export class Vitals {
  #samples = [];
  #pointed = null; // seconds before now at the pointer's position
  #scheduled = false;
  #numbers;
  #charts;

  constructor(root) {
    const find = (id) => root.querySelector(`#${id}`);
    this.#numbers = Object.keys(FORMATS).map((key) => [key, find(`now-${key}`)]);
    const common = { windowS: WINDOW_S };
    this.#charts = [
      [find("percent"), { series: ["cpu", "memory"], format: percent, top: 100, fixed: true }],
      [find("network"), { series: ["received", "sent"], format: bytes, top: 1000 }],
    ].map(([svg, options]) => {
      const chart = new Chart(svg, { ...common, ...options });
      svg.addEventListener("pointermove", (event) => this.#point(chart.ageAt(event.clientX)));
      svg.addEventListener("pointerleave", () => this.#point(null));
      svg.addEventListener("keydown", (event) => this.#step(event, svg, options.series));
      svg.addEventListener("blur", () => this.#point(null));
      new ResizeObserver(() => this.#schedule()).observe(svg);
      return chart;
    });
  }

  // The time of the last sample, by the server's clock, in seconds since the epoch.
  get now() {
    return this.#samples.at(-1)?.t ?? Date.now() / 1000;
  }

  add(load) {
    const t = Date.parse(load.at) / 1000;
    if (t <= this.#samples.at(-1)?.t) return; // a repeated sample
    this.#samples.push({ ...load, t });
    const oldest = this.now - WINDOW_S;
    while (this.#samples[0].t < oldest) this.#samples.shift();
    this.#schedule();
  }

  #point(age) {
    this.#pointed = age;
    this.#schedule();
  }

  // By the arrow keys a second at a time; Home and End for the first sample and now.
  #step(event, svg, series) {
    const age = Math.round(this.#pointed ?? 0);
    const ages = { ArrowLeft: age + 1, ArrowRight: age - 1, Home: WINDOW_S, End: 0, Escape: 0 };
    if (!(event.key in ages) || !this.#samples.length) return;
    event.preventDefault();
    const oldest = Math.ceil(this.now - this.#samples[0].t);
    const wanted = Math.max(0, Math.min(ages[event.key], oldest));
    this.#point(wanted || null);
    const sample = this.#nearest(this.now - wanted);
    const values = series.map((key) => `${key} ${FORMATS[key](sample[key])}`);
    svg.setAttribute("aria-valuenow", -wanted);
    svg.setAttribute("aria-valuetext", `${wanted ? `${wanted} s ago` : "now"}: ${values.join(", ")}`);
  }

  // Draws once for many samples: a hundred earlier ones arrive at once.
  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      this.#draw();
    });
  }

  #draw() {
    const marked = this.#pointed === null ? null : this.#nearest(this.now - this.#pointed);
    for (const chart of this.#charts) chart.draw(this.#samples, this.now, marked);
    const shown = marked ?? this.#samples.at(-1);
    if (!shown) return;
    for (const [key, number] of this.#numbers) number.textContent = FORMATS[key](shown[key]);
  }

  #nearest(t) {
    const distance = (sample) => Math.abs(sample.t - t);
    return this.#samples.reduce(
      (best, sample) => (best && distance(best) <= distance(sample) ? best : sample),
      null,
    );
  }
}
