// <eric-run>: shows a run's text and progress, and continues what the page was rendered with.
//
// Attributes: `src` (the run's stream), `index` (of the first chunk that the page does not have),
// `status`, and `client` (the module of the client eric-sse; without it, an EventSource). Parts:
// [data-run=text], a <progress>, [data-run=note]. Events, which bubble: `run-value` for each value,
// `run-progress`, `run-end` with the status, and the result or the error.

const TYPES = ["run", "run-chunk", "run-progress"];
const ENDS = ["run-finished", "run-failed", "run-stopped", "run-lost"];

// Once the page's modules that follow this one have added their listeners.
const parsed =
  document.readyState === "complete"
    ? Promise.resolve()
    : new Promise((resolve) => {
        document.addEventListener("DOMContentLoaded", resolve, { once: true });
        window.addEventListener("load", resolve, { once: true });
      });

// The file of connect(). HTML that others write must not be able to name another one.
function clientOf(element) {
  const url = new URL(element.getAttribute("client"), document.baseURI);
  if (url.origin === new URL(import.meta.url).origin) return url.href;
  throw new Error(`not imported: ${url} has another origin than ${import.meta.url}`);
}

class EricRun extends HTMLElement {
  #next = 0;
  #isShown = false;
  #changes = 0; // how often it was connected or disconnected
  #close = () => {};

  async connectedCallback() {
    const change = ++this.#changes;
    await parsed;
    if (change !== this.#changes) return; // it was moved or removed meanwhile
    this.#next = Number(this.getAttribute("index") ?? 0);
    const status = this.getAttribute("status");
    if (!this.#isShown) this.#show(status);
    if (["waiting", "running"].includes(status)) void this.#open(change);
  }

  // What the page was rendered with, as events.
  #show(status) {
    this.#isShown = true;
    for (const value of this.#rendered("values") ?? []) this.#emit("run-value", value);
    const end = this.#rendered("end");
    if (end) this.#emit("run-end", { status, ...end });
  }

  #rendered(name) {
    const script = this.querySelector(`script[data-run=${name}]`);
    return script && JSON.parse(script.textContent);
  }

  disconnectedCallback() {
    this.#changes += 1;
    this.#close();
  }

  async #open(change) {
    const url = new URL(this.getAttribute("src"), document.baseURI);
    url.searchParams.set("index", this.#next);
    if (this.getAttribute("client")) {
      const { connect } = await import(clientOf(this));
      if (change !== this.#changes) return;
      const onmessage = ({ type, data }) => this.#take(type, data);
      // A compaction sends again what this element drops by its index.
      const stream = connect(url, { onmessage, onreset() {}, share: false });
      this.#close = () => stream.close();
    } else {
      const source = new EventSource(url);
      for (const type of [...TYPES, ...ENDS])
        source.addEventListener(type, (event) => this.#take(type, JSON.parse(event.data)));
      this.#close = () => source.close();
    }
  }

  #take(type, data) {
    if (type === "run") {
      // Of a run that has ended too, the output comes after this, and then the end.
      this.setAttribute("status", data.status === "waiting" ? "waiting" : "running");
      if (data.progress) this.#progress(data.progress);
    } else if (type === "run-chunk") this.#chunks(data);
    else if (type === "run-progress") this.#progress(data);
    else if (ENDS.includes(type)) this.#end(type.slice(4), data);
  }

  #chunks(data) {
    const skipped = Math.max(0, this.#next - data.i);
    const count = data.n ?? data.data.length;
    if (skipped >= count) return;
    this.#next = data.i + count;
    this.setAttribute("status", "running");
    this.setAttribute("index", this.#next);
    if (data.data) for (const value of data.data.slice(skipped)) this.#emit("run-value", value);
    else this.#append(skipped ? textFrom(data, skipped) : data.text);
  }

  #append(text) {
    const place = this.querySelector("[data-run=text]");
    if (place) place.append(text);
    this.#emit("run-text", text);
  }

  #progress(progress) {
    const { done, total, text } = progress;
    const bar = this.querySelector("progress");
    if (bar) {
      bar.hidden = false;
      if (done === null || !total) bar.removeAttribute("value");
      else {
        bar.max = total;
        bar.value = done;
      }
    }
    this.#note(text);
    this.#emit("run-progress", progress);
  }

  #note(text) {
    const note = this.querySelector("[data-run=note]");
    if (note) note.textContent = text;
  }

  #end(status, data) {
    this.setAttribute("status", status);
    if (data.error) this.#note(data.error);
    this.#emit("run-end", { status, ...data });
    // Another producer may continue a lost run: its stream ends by the server's answer.
    if (status !== "lost") this.#close();
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true }));
  }
}

// The text without its first chunks; their lengths are in characters, not in UTF-16 units.
function textFrom(data, skipped) {
  const before = data.l.slice(0, skipped).reduce((sum, length) => sum + length, 0);
  return Array.from(data.text).slice(before).join("");
}

customElements.define("eric-run", EricRun);
