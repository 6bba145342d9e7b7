// Connects the parts of the page to one stream, which all tabs of this browser share.

import { wire } from "./forms.js";
import { Inbox } from "./inbox.js";
import { Listeners } from "./listeners.js";
import { Stream } from "./stream.js";
import { Vitals } from "./vitals.js";

const find = (id) => document.getElementById(id);
const state = JSON.parse(find("state").textContent);
const { connect } = await import(state.client);

async function fetchUrls() {
  const response = await fetch("/streams/", { headers: { Accept: "application/json" } });
  if (!response.ok) throw new Error(`no stream URLs: ${response.status}`);
  const found = await response.json();
  // The listener changed: after a login, a logout, or with a new database.
  if (found.me !== state.me) location.reload();
  return found;
}

function showState(place, status) {
  place.dataset.state = status;
  place.textContent = status;
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
// After a reload, messages that this page has shown are not marked as replayed, even if the
// server has not recorded them as served yet.
const [owner, seen] = (sessionStorage.seen ?? "").split(" ");
inbox.begin(state.notes, owner === state.me ? Number(seen) : 0);
addEventListener("pagehide", () => (sessionStorage.seen = `${state.me} ${stream.last}`));

// The stream ----------------------------------------------------------------------

const receive = {
  load: (load) => vitals.add(load),
  queues: (queues, { position }) => {
    if (position <= listedAt) return; // older than the table
    listedAt = position;
    listeners.show(queues);
    showAway();
  },
  note: (payload, about) => inbox.add("note", payload, about),
  "eric-reset": (reset, about) => inbox.add("eric-reset", reset, about),
};
const stream = new Stream(connect, {
  fetchUrls,
  last: state.head,
  onMessage: (type, payload, about) => receive[type](payload, about),
  onState: (status, kind) => {
    showState(find("vitals-state"), status);
    showState(find("inbox-state"), kind === "online" ? status : "offline");
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
  const waits = listeners.waiting === 1 ? "1 message waits" : `${listeners.waiting} messages wait`;
  away.hidden = online.getAttribute("aria-checked") === "true";
  const text = listeners.waiting ? `${waits} for you.` : "New messages will wait for you.";
  if (away.textContent !== text) away.textContent = text;
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
  find("copied").textContent = target.textContent; // a button's own text is not read out
  setTimeout(() => (target.textContent = "Copy"), 2000);
});
