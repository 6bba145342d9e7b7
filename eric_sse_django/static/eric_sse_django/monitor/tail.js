// The latest messages: filtered, paused, and never more than fit in a page.

import { fill, timeOfDay, whole } from "./format.js";
import { newRow, pageOf } from "./rows.js";

const MOST_KEPT = 500;
const MOST_SHOWN = 100;

export class Tail {
  #body;
  #empty;
  #texts;
  #messageUrl;
  #pause;
  #topic;
  #text;
  #entries = []; // newest last; { message } or { skipped }
  #seen = new Set();
  #held = null; // what came while paused

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

  // `messages` are in order; `skipped` came before them, and are not among them. Those
  // that are not `fresh` were there before the page.
  add(messages, skipped, fresh = true) {
    const unseen = messages.filter((message) => !this.#seen.has(message.position));
    if (!unseen.length) return;
    const entries = unseen.map((message) => ({ message, words: words(message) }));
    if (skipped) entries.unshift({ skipped });
    for (const { position } of unseen) this.#seen.add(position);
    if (this.#held) {
      this.#held = [...this.#held, ...entries].slice(-MOST_KEPT);
      this.#label();
    } else {
      this.#keep(entries);
      this.#show(entries, fresh);
    }
  }

  #keep(entries) {
    this.#entries.push(...entries);
    for (const { message } of this.#entries.splice(0, this.#entries.length - MOST_KEPT)) {
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
    const words = this.#held ? this.#texts.resume : this.#texts.pause;
    const more = count ? ` (${fill(this.#texts.new, { n: whole(count) })})` : "";
    this.#pause.textContent = words + more;
  }

  #showAll() {
    this.#body.replaceChildren();
    this.#show(this.#entries, false);
  }

  #show(entries, fresh = true) {
    const topic = this.#topic.value.trim().toLowerCase();
    const text = this.#text.value.trim().toLowerCase();
    const matches = ({ message, words }) =>
      message ? words.topic.includes(topic) && words.text.includes(text) : !topic && !text;
    const rows = entries.filter(matches).slice(-MOST_SHOWN).map((entry) => this.#row(entry));
    for (const row of rows) row.classList.toggle("eric-fresh", fresh);
    this.#body.prepend(...rows.reverse());
    while (this.#body.rows.length > MOST_SHOWN) this.#body.lastElementChild.remove();
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
      { text: this.#to(message), className: isToAll(message) ? "eric-whom eric-all" : "eric-whom" },
      { text: message.payload + (message.is_cut ? "…" : ""), className: "eric-json", code: true },
    ]);
  }

  #to(message) {
    if (isToAll(message)) return this.#texts.everyone;
    return message.listener ?? fill(this.#texts.all_of, { n: message.owner });
  }
}

const isToAll = ({ listener, owner }) => listener === null && owner === null;

// What the filters look in.
function words({ channel, type, payload, listener, owner }) {
  return {
    topic: `${channel}\n${type}`.toLowerCase(),
    text: `${payload}\n${listener ?? ""}\n${owner ?? ""}`.toLowerCase(),
  };
}
