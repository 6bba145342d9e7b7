// A line chart of the last two minutes, in SVG. Colours come from the style sheet.

const NAMESPACE = "http://www.w3.org/2000/svg";
const MARGIN = { top: 8, right: 10, bottom: 18, left: 44 };
export const WINDOW_S = 120;
// Samples come once a second; a longer silence is drawn as a gap.
const GAP_S = 3.5;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

function node(name, attributes = {}, text = null) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}

// The smallest of 1, 2, 4 or 5 times a power of ten that holds `value`: halves are round.
function roundTop(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 4, 5, 10].find((step) => step * power >= value) ?? 10);
}

export class Chart {
  #svg;
  #series;
  #format;
  #least;
  #words;
  #clip;
  #plot = node("g", { class: "eric-plot" });
  #moving = node("g");
  #frame = node("g");
  #mark = node("g");

  // `series` are keys of the samples; `least` is the least top of the scale.
  constructor(svg, { series, format, least, words }) {
    this.#svg = svg;
    this.#series = series;
    this.#format = format;
    this.#least = least;
    this.#words = words;
    const id = `${svg.id}-clip`;
    this.#clip = node("rect");
    const clip = node("clipPath", { id });
    clip.append(this.#clip);
    this.#plot.setAttribute("clip-path", `url(#${id})`);
    this.#plot.append(this.#moving);
    svg.replaceChildren(clip, this.#frame, this.#plot, this.#mark);
  }

  // The seconds before now that a place on the screen stands for, null beside the plot.
  ageAt(clientX) {
    const box = this.#svg.getBoundingClientRect();
    const share = (clientX - box.left - MARGIN.left) / (box.width - MARGIN.left - MARGIN.right);
    return share < 0 || share > 1 ? null : (1 - share) * WINDOW_S;
  }

  // `samples` have `t` in seconds, in order; `marked` is one of them or null. `passed`
  // are the seconds since the last sample: the lines then slide in.
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
    let most = this.#least;
    for (const sample of samples) {
      for (const key of this.#series) most = Math.max(most, sample[key] ?? 0);
    }
    return roundTop(most);
  }

  *#axes({ y, top, right, bottom }) {
    for (const value of [0, top / 2, top]) {
      const at = Math.round(y(value)) + 0.5;
      const kind = value ? "eric-grid" : "eric-axis";
      yield node("line", { class: kind, x1: MARGIN.left, x2: right, y1: at, y2: at });
      yield node("text", { class: "eric-y", x: MARGIN.left - 6, y: at + 3.5 }, this.#format(value));
    }
    const under = bottom + 13;
    yield node("text", { class: "eric-x", x: MARGIN.left, y: under }, this.#words.first);
    yield node("text", { class: "eric-x eric-last", x: right, y: under }, this.#words.now);
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
