// Connects the parts of the page of runs. New runs and the worker's state arrive over one stream,
// which all tabs of this browser share; each run has a separate one until it ends.

import { Answers } from "./answers.js";
import { element } from "./element.js";
import { Export } from "./export.js";
import { wire } from "./forms.js";

const find = (id) => document.getElementById(id);
const state = JSON.parse(find("state").textContent);
const { connect } = await import(state.client);
const token = document.querySelector("[name=csrfmiddlewaretoken]").value;

async function post(path) {
  const response = await fetch(path, { method: "POST", headers: { "X-CSRFToken": token } });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

// The runs ------------------------------------------------------------------------

const stop = (id) => post(`/runs/${id}/stop/`);
const answers = new Answers(document, stop, state.client);
const start = () => post("/runs/export/").then(show);
const exported = new Export(find, { start, stop }, state.client);

function show(run) {
  if (run.sent) run = run.sent;
  if (run.kind === "answer") answers.add(run);
  else exported.show(run);
}

for (const run of state.runs) show(run);
wire(find("ask"), () => "");
for (const idea of document.querySelectorAll(".idea")) {
  idea.addEventListener("click", () => {
    find("ask-text").value = idea.textContent;
    find("ask-text").focus(); // the button is hidden
    find("ask").requestSubmit();
  });
}

// The worker ----------------------------------------------------------------------

let workerId = null;

function showWorker(worker) {
  const place = find("worker-state");
  const isRunning = Boolean(worker?.pid);
  if (workerId && !isRunning) note(`Worker ${workerId} was killed`, "killed");
  if (isRunning && worker.pid !== workerId && worker.number > 1) note(`Worker ${worker.pid} started`);
  workerId = worker?.pid ?? null;
  place.dataset.state = isRunning ? "live" : "reconnecting";
  place.textContent = isRunning ? `process ${worker.pid}` : "none, the next one starts";
  find("worker-pid").textContent = worker?.pid ?? "…";
  find("kill").setAttribute("aria-disabled", !isRunning); // disabled, it would lose the focus
}

function note(text, kind = "") {
  find("events").prepend(element("li", { class: kind }, text));
  while (find("events").children.length > 6) find("events").lastElementChild.remove();
}

workerId = state.worker?.pid ?? null;
showWorker(state.worker);
find("kill").addEventListener("click", () => workerId && post("/runs/kill/"));

// The stream ----------------------------------------------------------------------

const url = new URL(state.stream, location.href);
const stream = connect(url.href, {
  types: ["started", "took", "worker"],
  refresh: async () => (await (await fetch("/runs/state/")).json()).stream,
});
stream.on("started", show);
stream.on("worker", showWorker);
stream.on("took", (taken) => {
  answers.took(taken);
  if (taken.index) note(`Worker ${taken.pid} continued a run at ${taken.index}`);
});
