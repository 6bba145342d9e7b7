// The table of listeners with their queues, and the list of recipients.

import { element } from "./element.js";

// Waiting messages at which the bar of a queue is full.
const FULL = 10;

export class Listeners {
  #rows;
  #select;
  #me;
  #shown = [];

  constructor(rows, select, me) {
    this.#rows = rows;
    this.#select = select;
    this.#me = me;
  }

  // The number of messages that wait for this browser's listener.
  get waiting() {
    return this.#shown.find(({ id }) => id === this.#me)?.waiting ?? 0;
  }

  show(listeners) {
    this.#shown = this.#ordered(listeners);
    this.#fillTable();
    this.#fillSelect();
  }

  // This browser's listener, then programs, then by name: rows keep their order.
  #ordered(listeners) {
    const rank = ({ id, program }) => (id === this.#me ? 0 : program ? 1 : 2);
    return [...listeners].sort((a, b) => rank(a) - rank(b) || a.id.localeCompare(b.id));
  }

  #fillTable() {
    const known = new Map([...this.#rows.children].map((row) => [row.dataset.id, row]));
    const rows = this.#shown.map((listener) => {
      const row = known.get(listener.id) ?? this.#newRow(listener);
      const bar = row.querySelector(".bar");
      row.querySelector(".count").textContent = listener.waiting;
      row.querySelector(".about").textContent = this.#about(listener);
      row.classList.toggle("waits", listener.waiting > 0);
      row.classList.toggle("online", listener.online);
      bar.style.width = `${Math.min(1, listener.waiting / FULL) * 100}%`;
      return row;
    });
    // If the listeners are the same, the rows are not replaced: the focus stays.
    const same = rows.every((row, at) => row === this.#rows.children[at]);
    if (same && rows.length === this.#rows.children.length) return;
    const focused = document.activeElement;
    this.#rows.replaceChildren(...rows);
    if (this.#rows.contains(focused)) focused.focus();
  }

  #newRow({ id }) {
    const row = element("tr");
    row.dataset.id = id;
    const name = element("th", { scope: "row" });
    const write = element("button", { type: "button", class: "name", title: "Send a message" }, id);
    write.addEventListener("click", () => this.#choose(id));
    name.append(write, element("span", { class: "about" }));
    const depth = element("td", { class: "number" });
    const track = element("span", { class: "track", "aria-hidden": "true" });
    track.append(element("span", { class: "bar" }));
    depth.append(track, element("span", { class: "count" }));
    row.append(name, depth);
    return row;
  }

  #about({ id, about, online }) {
    const description = id === this.#me ? "you, in this browser" : about;
    return online ? `${description} · online` : description;
  }

  #choose(id) {
    this.#select.value = id;
    this.#select.dispatchEvent(new Event("change"));
    this.#select.form.elements.text.focus();
  }

  #fillSelect() {
    const labels = new Map(this.#shown.map(({ id }) => [id, id]));
    labels.set(this.#me, `${this.#me} (you)`);
    const chosen = this.#select.value;
    // The choice stays: a message must not go to the next listener in the list.
    if (chosen && !labels.has(chosen)) labels.set(chosen, `${chosen} (no longer listed)`);
    const before = [...this.#select.options].map(({ text }) => text);
    if ([...labels.values()].join() === before.join()) return;
    const options = [...labels].map(([id, text]) => element("option", { value: id }, text));
    this.#select.replaceChildren(...options);
    if (chosen) this.#select.value = chosen;
    this.#select.dispatchEvent(new Event("change"));
  }
}
