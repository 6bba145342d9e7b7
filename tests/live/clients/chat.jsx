// A page of useChat that resumes: its address has the chat's id.
import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";
import { createRoot } from "react-dom/client";

const chatId = new URLSearchParams(location.search).get("chat");
const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
const headers = { "X-CSRFToken": token };
const api = "/api/chat";
// The run of the answer that the page has the beginning of: it may have ended meanwhile.
let run;
const transport = new DefaultChatTransport({
  api,
  headers,
  prepareReconnectToStreamRequest: ({ id }) => ({
    api: `${api}/${id}/stream${run ? `?run=${run}` : ""}`,
  }),
});
const textOf = (message) =>
  message.parts.filter((part) => part.type === "text").map((part) => part.text).join("");

function Page() {
  const { messages, sendMessage, status, error, resumeStream } = useChat({
    id: chatId,
    transport,
    resume: true,
  });
  const answers = messages.filter((each) => each.role === "assistant");
  const last = messages.at(-1);
  run = last?.role === "assistant" ? last.id : undefined;
  const send = () => sendMessage({ text: document.querySelector("#question").value });
  const stop = () =>
    fetch(`${api}/${chatId}/stop`, {
      method: "POST",
      headers: { ...headers, "Content-Type": "application/json" },
      body: JSON.stringify({ run: answers.at(-1)?.id }),
    });
  return (
    <main>
      <input id="question" />
      <button id="send" onClick={send}>Send</button>
      <button id="stop" onClick={stop}>Stop</button>
      <button id="resume" onClick={() => resumeStream()}>Resume</button>
      <p id="status">{status}</p>
      <p id="error">{String(error ?? "")}</p>
      <p id="count">{answers.length}</p>
      <pre id="text">{answers.map(textOf).join("\n---\n")}</pre>
    </main>
  );
}

createRoot(document.getElementById("root")).render(<Page />);
