import { connect } from "../eric_sse_django/eric-sse.js";
import { append, showState, stay } from "./page.js";

stay(document.forms);
const list = document.getElementById("notes");

// All tabs of this browser share one stream. After it has lost messages, the page is loaded again.
const stream = connect(list.dataset.stream, { onreset: "reload", onstate: showState });
stream.on("note", ({ text }, { id }) => append(list, id, text));
