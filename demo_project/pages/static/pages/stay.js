import { showState, stay } from "./page.js";

addEventListener("eric-state", ({ detail }) => showState(detail));
stay(document.forms);
