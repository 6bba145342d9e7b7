import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { useRun } from "eric-sse/react";
import { type Result, shown } from "./run.js";

function Answer({ url }: { url: string }) {
  const { value, state } = useRun<Result>(url);
  return <>{shown(value, state)}</>;
}

createRoot(document.querySelector("#root")!).render(
  <StrictMode>
    <Answer url={window.url} />
  </StrictMode>,
);
