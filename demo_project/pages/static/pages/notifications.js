import { connect } from "../eric_sse_django/eric-sse.js";
import { announceFromNow } from "../demo_project/element.js";
import { append, showState, stay } from "./page.js";

const TOAST_MS = 4_000;
stay(document.forms);
const find = (id) => document.getElementById(id);
const [notices, unread, toasts] = ["notices", "unread", "toasts"].map(find);
const log = notices.closest(".scroll");

// A notice is processed, and acknowledged, when the promise of its listener is fulfilled.
const stream = connect(notices.dataset.stream, {
  acknowledge: notices.dataset.read,
  share: false, // each tab begins with all that is unread
  onreset: "reload",
  onstate: (state) => {
    showState(state);
    if (state === "live") announceFromNow(log).then(count); // not what was unread before
  },
});

stream.on("notices/notice", ({ text }, { id }) => {
  const entry = append(notices, id, text);
  count();
  return new Promise((read) => entry.addEventListener("read", read, { once: true }));
});

// Another tab or device of this visitor has read up to a position.
stream.on("toasts/read", (position) => read(position));
find("read").addEventListener("click", () => read(Infinity));

function read(position) {
  for (const entry of notices.querySelectorAll("li:not(.read)")) {
    if (Number(entry.dataset.position) > position) continue;
    entry.classList.add("read");
    entry.dispatchEvent(new Event("read"));
  }
  count();
}

function count() {
  if (log.ariaLive === "off") return;
  const found = String(notices.querySelectorAll("li:not(.read)").length);
  if (unread.textContent !== found) unread.textContent = found;
}

stream.on("toasts/toast", ({ text }) => {
  const toast = document.createElement("p");
  toast.textContent = text;
  toasts.append(toast);
  setTimeout(() => toast.remove(), TOAST_MS); // some users have no animations
});
