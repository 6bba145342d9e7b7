// The live monitor: one stream from the server, shown as charts and tables.

import { delay, fill, length, rate, whole } from "./format.js";
import { Numbers } from "./numbers.js";
import { fillRows, pageOf } from "./rows.js";
import { Tail } from "./tail.js";

// Seconds between two summaries for screen readers, and without a snapshot until it is said.
const SUMMARY_S = 15;
const SILENT_S = 4;

class Page {
  #root = document.getElementById("eric-monitor");
  #texts = JSON.parse(document.getElementById("eric-texts").textContent);
  #status = document.getElementById("eric-status");
  #numbers = new Numbers(this.#root, this.#texts);
  #tail = new Tail(this.#root, this.#texts);
  #source;
  #heardAt = null; // performance.now() of the last snapshot
  #summedUpAt = -Infinity;

  open() {
    this.#source = new EventSource(this.#root.dataset.events);
    this.#source.addEventListener("history", ({ data }) => this.#begin(JSON.parse(data)));
    this.#source.addEventListener("snapshot", ({ data }) => this.#show(JSON.parse(data)));
    this.#source.addEventListener("error", () => this.#lost());
    setInterval(() => this.#listen(), 1_000);
  }

  #begin(history) {
    this.#numbers.begin(history);
    this.#tail.add(history.messages, 0, false);
  }

  #show(snapshot) {
    const isFirst = this.#heardAt === null;
    this.#heardAt = performance.now();
    this.#say("live", this.#texts.live);
    this.#numbers.add(snapshot);
    this.#tail.add(snapshot.messages, snapshot.skipped, !isFirst);
    this.#showStreams(snapshot);
    this.#showProcesses(snapshot.processes);
    if (this.#heardAt - this.#summedUpAt >= SUMMARY_S * 1_000) {
      this.#summedUpAt = this.#heardAt;
      this.#find("summary").textContent = this.#numbers.describe();
    }
  }

  #showStreams({ open_streams: streams, streams: all }) {
    const url = this.#root.dataset.listener;
    fillRows(this.#find("streams"), this.#find("streams-empty"), streams, (stream) => [
      { text: stream.listener, href: url && pageOf(url, stream.id), className: "eric-name" },
      { text: stream.channel, className: "eric-channel" },
      { text: stream.owner ?? "–", className: "eric-owner" },
      { text: stream.process, className: "eric-where" },
      { text: this.#since(stream.opened_at), title: stream.opened_at, className: "eric-time" },
    ]);
    const some = fill(this.#texts.some_streams, { n: whole(streams.length), all: whole(all) });
    this.#find("streams-some").textContent = streams.length < all ? some : "";
  }

  #showProcesses(processes) {
    fillRows(this.#find("processes"), this.#find("processes-empty"), processes, (process) => [
      { text: process.name, className: "eric-name" },
      { text: this.#since(process.started_at), title: process.started_at, className: "eric-time" },
      { text: whole(process.streams), className: "eric-figure" },
      { text: rate(process.delivered_per_s), className: "eric-figure" },
      { text: delay(process.delay_p50_ms), className: "eric-figure" },
      { text: delay(process.delay_p99_ms), className: "eric-figure" },
    ]);
  }

  // By the server's clock at its last snapshot: the reader's may be wrong.
  #since(iso) {
    return length(this.#numbers.now - Date.parse(iso) / 1_000);
  }

  #lost() {
    const closed = this.#source.readyState === EventSource.CLOSED;
    if (closed) this.#say("refused", this.#texts.refused);
    else this.#say("away", this.#texts.away);
  }

  // A connection that is up and silent is no news from EventSource.
  #listen() {
    if (this.#heardAt === null || this.#status.dataset.state === "refused") return;
    const silent = Math.floor((performance.now() - this.#heardAt) / 1_000);
    if (silent >= SILENT_S) this.#say("silent", fill(this.#texts.silent, { n: whole(silent) }));
  }

  #say(state, text) {
    if (this.#status.dataset.state !== state) this.#status.dataset.state = state;
    if (this.#status.textContent !== text) this.#status.textContent = text;
  }

  #find(name) {
    return document.getElementById(`eric-${name}`);
  }
}

new Page().open();
