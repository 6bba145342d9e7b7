// A chat of the AI SDK without a page: it sends, or resumes, and reports its text.
// api=<url> chat=<id> [send=<question>] [cookie=<cookie>] [resumes=<times after a cut>]
import { Chat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";
import { beginning, headers, main, options, report, textOf } from "./report.mjs";

const last = () => chat.messages.filter((each) => each.role === "assistant").at(-1);
const transport = new DefaultChatTransport({
  api: options.api,
  headers,
  // A run that ended meanwhile is resumed too, if the page had its beginning.
  prepareReconnectToStreamRequest: ({ id, api }) => ({
    api: `${api}/${id}/stream` + (last() ? `?run=${last().id}` : ""),
    headers,
  }),
});
const chat = new Chat({
  id: options.chat,
  transport,
  onError: (error) => report("error", { error: String(error) }),
  onData: (part) => report("data", { type: part.type, data: part.data }),
  onFinish: ({ isAbort, isDisconnect, isError }) =>
    report("finish", { isAbort, isDisconnect, isError }),
});
const began = beginning();
chat["~registerMessagesCallback"](() => began(textOf(last())));

async function untilComplete(first) {
  await first();
  for (let left = Number(options.resumes ?? 0); left > 0 && chat.status === "error"; left--) {
    await new Promise((resolve) => setTimeout(resolve, 300));
    await chat.resumeStream();
  }
}

await main(async () => {
  await untilComplete(() =>
    options.send ? chat.sendMessage({ text: options.send }) : chat.resumeStream(),
  );
  const message = last();
  report("done", {
    status: chat.status,
    id: message?.id,
    text: textOf(message),
    parts: message?.parts ?? [],
    messages: chat.messages.length,
  });
});
