// The transport of @ai-sdk/workflow: it reconnects by itself, where the chunks that it has end.
// api=<url> chat=<id> [send=<question>] [run=<id>] [start=<index>] [cookie=<cookie>]
import { Chat } from "@ai-sdk/react";
import { WorkflowChatTransport } from "@ai-sdk/workflow/client";
import { beginning, headers, main, options, report, textOf } from "./report.mjs";

/** As a page must: the transport gives up where a connection is refused. */
async function patient(url, init = {}) {
  for (let left = 100; ; left--) {
    try {
      const response = await fetch(url, { ...init, headers: { ...init.headers, ...headers } });
      report("opened", { url: String(url), status: response.status });
      if (response.status !== 503 || left <= 0) return response;
    } catch (error) {
      if (init.method === "POST" || left <= 0 || init.signal?.aborted) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const transport = new WorkflowChatTransport({
  api: options.api,
  fetch: patient,
  initialStartIndex: Number(options.start ?? 0),
  onChatEnd: ({ chunkIndex }) => report("end", { chunks: chunkIndex }),
  maxConsecutiveErrors: 20,
});
const chat = new Chat({
  id: options.run ?? options.chat,
  transport,
  onError: (error) => report("error", { error: String(error) }),
});
const last = () => chat.messages.filter((each) => each.role === "assistant").at(-1);
const began = beginning();
chat["~registerMessagesCallback"](() => began(textOf(last())));

await main(async () => {
  await (options.send ? chat.sendMessage({ text: options.send }) : chat.resumeStream());
  report("done", { status: chat.status, id: last()?.id, text: textOf(last()) });
});
