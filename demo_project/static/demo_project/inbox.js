// The messages of this browser's listener, oldest first. All content is set as text, never as
// markup.

import { announceFromNow, element } from "./element.js";

const MAX_SHOWN = 200;

const clock = new Intl.DateTimeFormat([], { timeStyle: "medium", hourCycle: "h23" });

export class Inbox {
  #list;
  #empty;
  #scroll;
  #me;
  #divider = null; // above the messages of one replay
  #replayed = 0;

  constructor(root, me) {
    this.#list = root.querySelector("#notes");
    this.#empty = root.querySelector("#inbox-empty");
    this.#scroll = root.querySelector("#inbox-scroll");
    this.#me = me;
  }

  // Shows the messages in the page. Those that were missed and are after `seen` are marked.
  begin(notes, seen) {
    for (const { position, payload, missed } of notes) {
      const replayed = missed && position > seen;
      if (replayed) this.#countReplay(position);
      this.#place(this.#note(payload, position, replayed), position);
    }
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
    this.endReplay();
    announceFromNow(this.#scroll);
  }

  add(type, payload, { position, replayed }) {
    if (type === "eric-reset") {
      this.#place(divider("Older messages were removed before you saw them."), position);
      return;
    }
    // Shown already: an operator replayed it, or it was sent again after a reconnect.
    const shown = this.#list.querySelector(`[data-position="${position}"]`);
    if (shown) {
      shown.replaceWith(this.#note(payload, position, true));
      return;
    }
    if (replayed) this.#countReplay(position);
    else this.#divider = null;
    this.#place(this.#note(payload, position, replayed), position);
  }

  // Starts a new count for the next replay.
  endReplay() {
    this.#divider = null;
  }

  #countReplay(position) {
    if (this.#divider === null) {
      this.#replayed = 0;
      this.#divider = divider("");
      this.#place(this.#divider, position);
    }
    this.#replayed += 1;
    const count = this.#replayed === 1 ? "1 message" : `${this.#replayed} messages`;
    this.#divider.textContent = `While you were offline: ${count}`;
  }

  #note(payload, position, replayed) {
    const note = typeof payload === "object" && payload !== null ? payload : { text: payload };
    const from = note.from === this.#me ? "you" : String(note.from ?? "a program");
    const at = new Date(note.at ?? Date.now());
    const made = element("li", { class: replayed ? "note replayed" : "note" });
    made.dataset.position = position;
    made.dataset.replayed = replayed;
    const head = element("p", { class: "meta" });
    head.append(element("span", { class: "from" }, from));
    if (!isNaN(at)) head.append(element("time", { datetime: at.toISOString() }, clock.format(at)));
    const text = element("p", { class: "text" }, String(note.text ?? JSON.stringify(payload)));
    const foot = element("p", { class: "meta" });
    const to = note.to === this.#me ? "to you" : "to everyone";
    foot.append(element("span", { title: "Position in the log" }, `#${position} ${to}`));
    if (replayed) foot.append(element("span", { class: "badge" }, "replayed"));
    made.append(head, text, foot);
    return made;
  }

  // Inserts by position: a message that an operator replays keeps its place.
  #place(made, position) {
    // Scrolls down only if the end of the list is visible.
    const { scrollHeight, scrollTop, clientHeight } = this.#scroll;
    const follows = scrollHeight - scrollTop - clientHeight < 80;
    this.#empty.hidden = true;
    const notes = [...this.#list.querySelectorAll(".note")];
    const later = notes.find((note) => Number(note.dataset.position) > position);
    this.#list.insertBefore(made, later ?? null);
    while (this.#list.children.length > MAX_SHOWN) this.#list.firstElementChild.remove();
    if (follows) this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }
}

function divider(text) {
  return element("li", { class: "divider" }, text);
}
