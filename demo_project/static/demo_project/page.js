// Puts the page together: one stream, shared by all tabs of this browser.

import { wire } from "./forms.js";
import { Inbox } from "./inbox.js";
import { Listeners } from "./listeners.js";
import { Stream } from "./stream.js";
import { Vitals } from "./vitals.js";

const find = (id) => document.getElementById(id);
const state = JSON.parse(find("state").textContent);
const { SharedStream } = await import(state.client);

async function addresses() {
  const response = await fetch("/streams/", { headers: { Accept: "application/json" } });
  if (!response.ok) throw new Error(`no addresses: ${response.status}`);
  const found = await response.json();
  // Another listener: somebody logged in or out, or the database was made anew.
  if (found.me !== state.me) location.reload();
  return found;
}

function showState(place, words) {
  place.dataset.state = words;
  place.textContent = words;
}

// The listeners -------------------------------------------------------------------

const select = find("dispatch-listener");
const listeners = new Listeners(find("listeners"), select, state.me);
let listedAt = state.head;
select.addEventListener("change", () => {
  find("dispatch-code").textContent = select.value;
});
listeners.show(state.listeners);

// The machine ---------------------------------------------------------------------

const vitals = new Vitals(document);
for (const load of state.loads) vitals.add(load);

// The inbox -----------------------------------------------------------------------

const inbox = new Inbox(document, state.me);
// A reload is no absence, though the server may not know yet what the page had.
const [who, seen] = (sessionStorage.seen ?? "").split(" ");
inbox.begin(state.notes, who === state.me ? Number(seen) : 0);
addEventListener("pagehide", () => (sessionStorage.seen = `${state.me} ${stream.last}`));

// The stream ----------------------------------------------------------------------

const receive = {
  load: (load) => vitals.add(load),
  queues: (queues, { position }) => {
    if (position <= listedAt) return; // older than what is shown
    listedAt = position;
    listeners.show(queues);
    showAway();
  },
  note: (payload, about) => inbox.add("note", payload, about),
  "eric-reset": (reset, about) => inbox.add("eric-reset", reset, about),
};
const stream = new Stream(SharedStream, {
  addresses,
  last: state.head,
  onMessage: (type, payload, about) => receive[type](payload, about),
  onState: (words, kind) => {
    showState(find("vitals-state"), words);
    showState(find("inbox-state"), kind === "online" ? words : "offline");
  },
});
stream.open("online", state);

const online = find("online");
online.addEventListener("click", () => {
  const on = online.getAttribute("aria-checked") !== "true";
  online.setAttribute("aria-checked", on);
  inbox.endReplay();
  stream.open(on ? "online" : "offline");
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
