import { Vitals } from "../demo_project/vitals.js";
import { connect } from "../eric_sse_django/eric-sse.js";
import { showState } from "./page.js";

const find = (id) => document.getElementById(id);
const vitals = new Vitals(document);
for (const load of JSON.parse(find("loads").textContent)) vitals.add(load);

const stream = connect(find("charts").dataset.stream, {
  types: ["load"],
  onstate: showState,
  onreset() {}, // samples that are gone are a gap in the line
});
stream.on("load", (load) => vitals.add(load));
