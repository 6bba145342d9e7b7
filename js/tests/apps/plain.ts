import { useStream } from "eric-sse/store";
import { type Events, options } from "./orders.js";

const root = document.querySelector("#root")!;
const store = useStream<Events, readonly number[]>(window.url, options);

let end: (() => void) | null = null;
function toggle(): void {
  if (end) end();
  end = end ? null : store.subscribe(show);
  show();
}

function show(): void {
  const { value, state } = store.get();
  root.textContent = end ? `${state}: ${value.join(" ")}` : "";
}

document.querySelector("#toggle")!.addEventListener("click", toggle);
toggle();
