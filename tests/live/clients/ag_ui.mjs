// An agent of AG-UI over HTTP, with its verification of events.
// url=<url> thread=<id> [send=<question>] [cookie=<cookie>]
import { HttpAgent } from "@ag-ui/client";
import { beginning, headers, main, options, report } from "./report.mjs";

const agent = new HttpAgent({
  url: options.url,
  threadId: options.thread,
  headers,
});
const began = beginning();
const types = [];

await main(async () => {
  agent.addMessage({ id: crypto.randomUUID(), role: "user", content: options.send });
  const { result, newMessages } = await agent.runAgent(
    { runId: options.run },
    {
      onEvent: ({ event }) => {
        if (types.at(-1) !== event.type) types.push(event.type);
      },
      onTextMessageContentEvent: ({ textMessageBuffer, event }) =>
        began(textMessageBuffer + event.delta),
      onRunErrorEvent: ({ event }) => report("error", { error: event.message }),
    },
  );
  const text = newMessages
    .filter((each) => each.role === "assistant")
    .map((each) => each.content ?? "")
    .join("");
  report("done", { text, result, types, messages: newMessages });
});
