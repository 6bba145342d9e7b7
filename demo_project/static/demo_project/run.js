// One run: the app's element <eric-run> receives its text, its progress and its end. It continues
// after an outage of the server, also at a 502, and drops what comes twice.

import { element } from "./element.js";

// Returns the element of the run with an id; it receives once it is in the page.
export function runElement(id, client) {
  const src = `/runs/${id}/stream/`;
  return element("eric-run", { src, client, index: 0, status: "waiting", hidden: "" });
}
