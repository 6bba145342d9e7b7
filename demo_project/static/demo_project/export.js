// The export: its bar, and the link to its file.

import { runElement } from "./run.js";

export class Export {
  #find;
  #client;
  #run = null;
  #id = null;

  constructor(find, { start, stop }, client) {
    this.#find = find;
    this.#client = client;
    find("export-start").addEventListener("click", start);
    find("export-stop").addEventListener("click", () => stop(this.#id));
  }

  show({ id }) {
    if (id === this.#id) return;
    this.#id = id;
    this.#state("connecting", "waiting");
    this.#bar(0, 1, "Waits for the worker.");
    this.#buttons(true);
    this.#run?.remove(); // its stream ends with it
    this.#run = runElement(id, this.#client);
    this.#run.addEventListener("run-progress", ({ detail }) => this.#progress(detail));
    this.#run.addEventListener("run-end", ({ detail }) => this.#end(detail));
    this.#find("export-text").after(this.#run);
  }

  #progress(progress) {
    this.#state("live", "running");
    this.#bar(progress.done, progress.total, progress.text);
  }

  #end({ status, result }) {
    if (status === "lost") return this.#state("reconnecting", "its worker is gone");
    this.#state(status, status);
    this.#buttons(false);
    if (status !== "finished") return;
    const kilobytes = Math.ceil(result.bytes / 1024).toLocaleString();
    this.#bar(1, 1, `${result.messages.toLocaleString()} messages, ${kilobytes} kB`);
    const file = this.#find("export-file");
    file.href = `/runs/${this.#id}/log.csv`;
    file.hidden = false;
  }

  #buttons(isActive) {
    const [start, stop] = ["export-start", "export-stop"].map(this.#find);
    const hadFocus = [start, stop].includes(document.activeElement);
    start.hidden = isActive;
    stop.hidden = !isActive;
    if (hadFocus) (isActive ? stop : start).focus();
    if (isActive) this.#find("export-file").hidden = true;
  }

  #bar(done, total, text) {
    const bar = this.#find("export-bar");
    bar.max = total || 1;
    bar.value = done;
    this.#find("export-text").textContent = text;
  }

  #state(status, text) {
    const state = this.#find("export-state");
    state.dataset.state = status;
    state.textContent = text;
  }
}
