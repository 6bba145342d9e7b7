// The core of CopilotKit: it asks for /info, and then connects to a thread, runs, or stops.
// url=<runtime url> thread=<id> [send=<question>] [stop=1] [cookie=<cookie>]
import { CopilotKitCore } from "@copilotkit/core";
import { beginning, headers, main, options, report } from "./report.mjs";

// The core asks for /info in a page only.
globalThis.window ??= { location: new URL(options.url) };

const core = new CopilotKitCore({
  runtimeUrl: options.url,
  runtimeTransport: options.transport ?? "auto",
  headers,
});
core.connect();
const began = beginning();
const errors = [];
core.subscribe({ onError: ({ error, code }) => errors.push(`${code}: ${error}`) });

async function connected() {
  for (let left = 200; core.runtimeConnectionStatus !== "connected"; left--) {
    if (left <= 0 || core.runtimeConnectionStatus === "error") {
      throw new Error(`no runtime: ${core.runtimeConnectionStatus} ${errors}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

await main(async () => {
  await connected();
  const agent = core.getAgent(options.agent ?? "default");
  agent.threadId = options.thread;
  agent.subscribe({
    onTextMessageContentEvent: ({ textMessageBuffer, event }) => {
      began(textMessageBuffer + event.delta);
      if (options.stop && textMessageBuffer.length > 40) {
        options.stop = "";
        agent.abortRun();
      }
    },
  });
  if (options.send) {
    agent.addMessage({ id: crypto.randomUUID(), role: "user", content: options.send });
    await core.runAgent({ agent });
  } else {
    await core.connectAgent({ agent });
  }
  report("done", {
    version: core.runtimeVersion,
    agents: Object.keys(core.agents),
    errors,
    messages: agent.messages.map(({ role, content, id }) => ({ role, content, id })),
  });
  process.exit(0);
});
