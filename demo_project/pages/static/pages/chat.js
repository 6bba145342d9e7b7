import { connect } from "../eric_sse_django/eric-sse.js";
import { append, showState, stay } from "./page.js";

stay(document.forms);
const find = (id) => document.getElementById(id);
const me = find("me").textContent;

// Of two channels: so the channel precedes each type.
const stream = connect(find("lines").dataset.stream, { onreset: "reload", onstate: showState });

stream.on("chat/line-created", ({ author, text }, { id }) => {
  const name = document.createElement("b");
  name.textContent = author;
  const line = append(find("lines"), id, name, ` ${text}`);
  line.classList.toggle("mine", author === me);
  forget(author);
});

stream.on("room/online", (names) => {
  const items = names.map((name) => {
    const item = document.createElement("li");
    item.textContent = name;
    return item;
  });
  find("online").replaceChildren(...items);
});

// "Is typing" is true for some seconds; nobody sends that it is over.
const typing = new Map();
stream.on("room/typing", ({ author, for_s }) => {
  if (author === me) return;
  clearTimeout(typing.get(author));
  typing.set(author, setTimeout(forget, 1_000 * for_s, author));
  showTyping();
});

function forget(author) {
  clearTimeout(typing.get(author));
  typing.delete(author);
  showTyping();
}

function showTyping() {
  const names = [...typing.keys()].join(", ");
  find("typing").textContent = names && `${names} typing …`;
}

let sentAt = 0;
find("text").addEventListener("input", ({ target }) => {
  if (Date.now() - sentAt < 1_500) return;
  sentAt = Date.now();
  void fetch(target.dataset.typing, { method: "POST", body: new FormData(find("send")) });
});
