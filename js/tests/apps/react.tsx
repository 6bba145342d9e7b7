import { StrictMode, useState } from "react";
import { createPortal } from "react-dom";
import { createRoot } from "react-dom/client";
import { useStream } from "eric-sse/react";
import { type Events, options } from "./orders.js";

function Orders() {
  const { value, state } = useStream<Events, readonly number[]>(window.url, options);
  return <>{`${state}: ${value.join(" ")}`}</>;
}

function App() {
  const [isShown, setShown] = useState(true);
  const button = <button onClick={() => setShown(!isShown)}>toggle</button>;
  return (
    <>
      {isShown && <Orders />}
      {createPortal(button, document.querySelector("#toggle")!)}
    </>
  );
}

createRoot(document.querySelector("#root")!).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
