import { showState, stay } from "./page.js";

addEventListener("eric-state", ({ detail }) => showState(detail));
const state = document.querySelector("eric-stream").getAttribute("state");
if (state) showState(state); // it was dispatched before
stay(document.forms);
