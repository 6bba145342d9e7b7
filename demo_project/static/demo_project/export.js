// The export: its bar, and the link to its file.

import { RunStream } from "./run.js";

export class Export {
  #find;
  #id = null;

  constructor(find, { start, stop }) {
    this.#find = find;
    find("export-start").addEventListener("click", start);
    find("export-stop").addEventListener("click", () => stop(this.#id));
  }

  show({ id }) {
    if (id === this.#id) return;
    this.#id = id;
    this.#state("connecting", "waiting");
    this.#bar(0, 1, "Waits for the worker.");
    this.#buttons(true);
    const stream = new RunStream(id);
    const current = (receive) => (event) => id === this.#id && receive(event.detail);
    stream.addEventListener("state", current(({ progress }) => this.#progress(progress)));
    stream.addEventListener("progress", current((progress) => this.#progress(progress)));
    stream.addEventListener("lost", current(() => this.#state("reconnecting", "its worker is gone")));
    stream.addEventListener("end", current((end) => this.#end(end)));
  }

  #progress(progress) {
    if (!progress) return;
    this.#state("live", "running");
    this.#bar(progress.done, progress.total, progress.text);
  }

  #end({ status, result }) {
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
    this.#find("export-start").hidden = isActive;
    this.#find("export-stop").hidden = !isActive;
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
