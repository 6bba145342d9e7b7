// What all scripts share: arguments, lines of JSON on stdout, and the text of messages.

export const options = Object.fromEntries(
  process.argv.slice(2).map((each) => [each.split("=", 1)[0], each.slice(each.indexOf("=") + 1)]),
);

/** What a page of the site sends: its session, and Django's token against forged requests. */
export const headers = {
  cookie: `${options.cookie ?? ""}; csrftoken=${"c".repeat(32)}`,
  "X-CSRFToken": "c".repeat(32),
};

/** Write one line, which the test reads. */
export function report(event, more = {}) {
  process.stdout.write(JSON.stringify({ event, ...more }) + "\n");
}

/** Return the text of an assistant's message of the AI SDK. */
export function textOf(message) {
  return (message?.parts ?? [])
    .filter((part) => part.type === "text")
    .map((part) => part.text)
    .join("");
}

/** Say "began" once a stream has its first text, so that the test may cut it. */
export function beginning() {
  let begun = false;
  return (text) => {
    if (text && !begun) {
      begun = true;
      report("began", { length: text.length });
    }
  };
}

/** Do what `work` does; report what it raised. */
export async function main(work) {
  try {
    await work();
  } catch (error) {
    report("failed", { error: String(error?.stack ?? error) });
    process.exitCode = 1;
  }
}
