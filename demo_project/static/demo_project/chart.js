// A line chart of the last seconds, in SVG. The style sheet sets the colours.

const NAMESPACE = "http://www.w3.org/2000/svg";
const MARGIN = { top: 10, right: 12, bottom: 22, left: 58 };
// Samples arrive once a second; a longer pause is drawn as a gap.
const GAP_S = 3;

function node(name, attributes = {}, text = null) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}

// The smallest of 1, 2, 4 or 5 times a power of ten that is not below `value`: its half is round.
export function roundTop(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 4, 5, 10].find((step) => step * power >= value) ?? 10);
}

export class Chart {
  #svg;
  #series;
  #windowS;
  #format;
  #minTop;
  #fixed;

  // `series` are keys of the samples; `top` is the lowest top of the scale (`fixed`: the only one).
  constructor(svg, { series, windowS, format, top, fixed = false }) {
    this.#svg = svg;
    this.#series = series;
    this.#windowS = windowS;
    this.#format = format;
    this.#minTop = top;
    this.#fixed = fixed;
  }

  // The seconds before now at a horizontal position, or null outside the plot.
  ageAt(clientX) {
    const box = this.#svg.getBoundingClientRect();
    const width = box.width - MARGIN.left - MARGIN.right;
    const share = (clientX - box.left - MARGIN.left) / width;
    return share < 0 || share > 1 ? null : (1 - share) * this.#windowS;
  }

  // `samples` are ordered by `t`, in seconds; `marked` is one of them, or null.
  draw(samples, now, marked) {
    const width = this.#svg.clientWidth;
    const height = this.#svg.clientHeight;
    if (!width || !height) return;
    const right = width - MARGIN.right;
    const bottom = height - MARGIN.bottom;
    const top = this.#top(samples);
    const x = (t) => right - ((now - t) / this.#windowS) * (right - MARGIN.left);
    const y = (value) => bottom - (Math.min(value, top) / top) * (bottom - MARGIN.top);

    this.#svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const parts = [...this.#axes(x, y, now, top, right)];
    for (const key of this.#series) parts.push(...this.#lines(samples, key, x, y, bottom));
    if (marked) {
      const at = x(marked.t);
      parts.push(node("line", { class: "mark", x1: at, x2: at, y1: MARGIN.top, y2: bottom }));
      for (const key of this.#series) {
        parts.push(node("circle", { class: `dot ${key}`, cx: at, cy: y(marked[key]), r: 3.5 }));
      }
    }
    if (!samples.length) {
      const middle = { class: "none", x: (MARGIN.left + right) / 2, y: bottom / 2 + 8 };
      parts.push(node("text", middle, "waiting for the first sample"));
    }
    this.#svg.replaceChildren(...parts);
  }

  #top(samples) {
    if (this.#fixed) return this.#minTop;
    const values = samples.flatMap((sample) => this.#series.map((key) => sample[key]));
    return roundTop(Math.max(this.#minTop, ...values));
  }

  *#axes(x, y, now, top, right) {
    for (const value of [0, top / 2, top]) {
      const at = Math.round(y(value)) + 0.5;
      yield node("line", { class: value ? "grid" : "axis", x1: MARGIN.left, x2: right, y1: at, y2: at });
      yield node("text", { class: "y", x: MARGIN.left - 8, y: at + 4 }, this.#format(value));
    }
    const step = this.#windowS / 3;
    for (let age = this.#windowS; age >= 0; age -= step) {
      const first = age === this.#windowS;
      const words = first ? `${age} s ago` : age ? `${age} s` : "now";
      const anchor = first ? "start" : age ? "middle" : "end";
      yield node("text", { class: "x", x: x(now - age), y: y(0) + 17, "text-anchor": anchor }, words);
    }
  }

  *#lines(samples, key, x, y, bottom) {
    for (const run of runs(samples)) {
      const points = run.map((sample) => `${x(sample.t).toFixed(1)},${y(sample[key]).toFixed(1)}`);
      const first = x(run[0].t).toFixed(1);
      const last = x(run.at(-1).t).toFixed(1);
      const area = `M${first},${bottom}L${points.join("L")}L${last},${bottom}Z`;
      yield node("path", { class: `area ${key}`, d: area });
      yield node("path", { class: `line ${key}`, d: `M${points.join("L")}` });
    }
  }
}

function* runs(samples) {
  let run = [];
  for (const sample of samples) {
    if (run.length && sample.t - run.at(-1).t > GAP_S) {
      yield run;
      run = [];
    }
    run.push(sample);
  }
  if (run.length) yield run;
}
