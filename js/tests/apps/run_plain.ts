import { useRun } from "eric-sse/store";
import { type Result, shown } from "./run.js";

const store = useRun<Result>(window.url);
const show = () => {
  const { value, state } = store.get();
  document.querySelector("#root")!.textContent = shown(value, state);
};
store.subscribe(show);
