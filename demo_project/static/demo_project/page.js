// Puts the page together: two streams, one for each thing that happens by itself.

import { wire } from "./forms.js";
import { Inbox } from "./inbox.js";
import { Listeners } from "./listeners.js";
import { Stream } from "./stream.js";
import { Vitals } from "./vitals.js";

const find = (id) => document.getElementById(id);
const state = JSON.parse(find("state").textContent);

async function addresses() {
  const response = await fetch("/streams/", { headers: { Accept: "application/json" } });
  if (!response.ok) throw new Error(`no addresses: ${response.status}`);
  const found = await response.json();
  // Another listener: somebody logged in or out, or the database was made anew.
  if (found.me !== state.me) location.reload();
  return found;
}

function showState(place) {
  return (words) => {
    place.dataset.state = words;
    place.textContent = words;
  };
}

// The listeners -------------------------------------------------------------------

const select = find("dispatch-listener");
const listeners = new Listeners(find("listeners"), select, state.me);
select.addEventListener("change", () => {
  find("dispatch-code").textContent = select.value;
});
listeners.show(state.listeners);

// The machine ---------------------------------------------------------------------

const vitals = new Vitals(document);
const receive = {
  load: (load) => vitals.add(load),
  queues: (queues, { position }) => {
    if (position <= state.head) return; // older than what the page came with
    listeners.show(queues);
    showAway();
  },
  "eric-reset": () => {}, // what was removed is older than the chart
};
const machine = new Stream(
  addresses,
  "vitals",
  ["load", "queues"],
  (type, payload, about) => receive[type](payload, about),
  showState(find("vitals-state")),
  state.vitals_from,
);
machine.open(state);

// The inbox -----------------------------------------------------------------------

const inbox = new Inbox(document, state.me);
const mine = new Stream(
  addresses,
  "inbox",
  ["note"],
  (...message) => inbox.add(...message),
  showState(find("inbox-state")),
);
mine.open(state);

const online = find("online");
online.addEventListener("click", () => {
  const on = online.getAttribute("aria-checked") !== "true";
  online.setAttribute("aria-checked", on);
  inbox.endReplay();
  if (on) mine.open();
  else mine.close();
  showAway();
});

function showAway() {
  const away = find("away");
  const waits = listeners.mine === 1 ? "1 message waits" : `${listeners.mine} messages wait`;
  away.hidden = online.getAttribute("aria-checked") === "true";
  const words = listeners.mine ? `${waits} for you.` : "What comes meanwhile waits for you.";
  if (away.textContent !== words) away.textContent = words;
}

// The rest ------------------------------------------------------------------------

wire(find("dispatch"), () => `Sent to ${select.value}.`);
wire(find("broadcast"), () => "Sent to everyone.");

find("copy").addEventListener("click", async ({ target }) => {
  try {
    await navigator.clipboard.writeText(find("command").textContent);
    target.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(find("command"));
    target.textContent = "Selected";
  }
  setTimeout(() => (target.textContent = "Copy"), 2000);
});
