// The table of listeners with their queues, and the choice of whom to write to.

import { element } from "./element.js";

// Messages that fill the bar of a queue.
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

  // How many messages wait for us.
  get mine() {
    return this.#shown.find(({ id }) => id === this.#me)?.waiting ?? 0;
  }

  show(listeners) {
    this.#shown = this.#ordered(listeners);
    this.#fillTable();
    this.#fillSelect();
  }

  // We first, then the programs, then by name: rows do not jump about.
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
    // Untouched while the same listeners are there: the focus stays where it is.
    const same = rows.every((row, at) => row === this.#rows.children[at]);
    if (!same || rows.length !== this.#rows.children.length) this.#rows.replaceChildren(...rows);
  }

  #newRow({ id }) {
    const row = element("tr");
    row.dataset.id = id;
    const name = element("th", { scope: "row" });
    const write = element("button", { type: "button", class: "name", title: "Write to it" }, id);
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
    const who = id === this.#me ? "you, in this browser" : about;
    return online ? `${who} · online` : who;
  }

  #choose(id) {
    this.#select.value = id;
    this.#select.dispatchEvent(new Event("change"));
    this.#select.form.elements.text.focus();
  }

  #fillSelect() {
    const words = new Map(this.#shown.map(({ id }) => [id, id]));
    words.set(this.#me, `${this.#me} (you)`);
    const chosen = this.#select.value;
    // Who was chosen stays so: a message must not slip to whoever comes next in the list.
    if (chosen && !words.has(chosen)) words.set(chosen, `${chosen} (not listed any more)`);
    const before = [...this.#select.options].map(({ text }) => text);
    if ([...words.values()].join() === before.join()) return;
    const options = [...words].map(([id, text]) => element("option", { value: id }, text));
    this.#select.replaceChildren(...options);
    if (chosen) this.#select.value = chosen;
    this.#select.dispatchEvent(new Event("change"));
  }
}
