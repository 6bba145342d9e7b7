// Questions and their answers, oldest first. All content is set as text, never as markup.

import { element } from "./element.js";
import { runElement } from "./run.js";

export class Answers {
  #list;
  #empty;
  #scroll;
  #stop;
  #client;
  #announced; // what is read out: not each word
  #shown = new Map(); // the id of a run: its element

  // `stop` stops the run with an id; `client` is the module that runs are received with.
  constructor(root, stop, client) {
    this.#list = root.querySelector("#answers");
    this.#empty = root.querySelector("#chat-empty");
    this.#scroll = root.querySelector("#chat-scroll");
    this.#stop = stop;
    this.#client = client;
    this.#announced = root.querySelector("#chat-announced");
  }

  add({ id, title, ended }) {
    if (this.#shown.has(id)) return;
    this.#empty.hidden = true;
    const item = element("li", { class: "answer", "data-run": id, tabindex: -1 });
    const foot = element("p", { class: "meta" });
    const state = element("span", { class: "state", "data-state": "connecting" }, "waiting");
    const stop = element("button", { type: "button", class: "plain stop" }, "Stop");
    stop.addEventListener("click", () => this.#stop(id));
    foot.append(state, stop);
    const text = element("div", { class: "passages" });
    item.append(element("p", { class: "question" }, title), text, foot);
    this.#shown.set(id, item);
    this.#list.append(item);
    this.#follow(() => {}, true);
    if (!ended) this.#announced.textContent = `Answering: ${title}`;
    this.#receive(id, item, new Writing(text), state, stop, !ended);
  }

  // Notes in the answer that another worker continued it.
  took({ run, index, pid }) {
    const item = this.#shown.get(run);
    if (!item || !index) return;
    this.#follow(() => {
      const text = `Worker ${pid} continued at word ${index}`;
      item.querySelector(".meta").before(element("p", { class: "continued" }, text));
    });
  }

  #receive(id, item, writing, state, stop, isNew) {
    const show = (status, text) => {
      state.dataset.state = status;
      state.textContent = text;
    };
    const run = runElement(id, this.#client);
    run.addEventListener("run-text", ({ detail: text }) => {
      show("live", "writing");
      this.#follow(() => writing.write(text));
    });
    run.addEventListener("run-end", ({ detail: { status } }) => {
      if (status === "lost") return show("reconnecting", "its worker is gone");
      show(status, status);
      item.dataset.ended = status;
      if (isNew) this.#announced.textContent = `The answer is ${status}.`;
      if (stop === document.activeElement) item.focus();
      stop.remove();
    });
    item.append(run);
  }

  // Scrolls down after a change only if the end of the list is visible.
  #follow(change, always = false) {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroll;
    const follows = always || scrollHeight - scrollTop - clientHeight < 60;
    change();
    if (follows) this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }
}

// Writes a text with headings, paragraphs, `code` and **strong** words, as it arrives.
class Writing {
  #place;
  #line = null; // the element of the last line
  #text = ""; // of the last line

  constructor(place) {
    this.#place = place;
  }

  write(text) {
    const [first, ...lines] = text.split("\n");
    this.#add(first);
    for (const line of lines) {
      this.#line = null;
      this.#text = "";
      this.#add(line);
    }
  }

  #add(text) {
    this.#text += text;
    if (!this.#text) return;
    const isHeading = this.#text.startsWith("#");
    const shown = this.#text.replace(isHeading ? /^#+ ?/ : /^[-*] /, isHeading ? "" : "• ");
    if (!shown) return;
    if (!this.#line) {
      this.#line = element(isHeading ? "h3" : "p");
      this.#place.append(this.#line);
    }
    this.#line.replaceChildren(...shown.split(MARKED).map(marked));
  }
}

const MARKED = /(`[^`]+`|\*\*[^*]+\*\*)/;

function marked(part) {
  if (part.startsWith("`") && part.length > 1) return element("code", {}, part.slice(1, -1));
  if (part.startsWith("**") && part.length > 4) return element("strong", {}, part.slice(2, -2));
  return part;
}
