// What the pages share: they show the state of their stream, and stay when a form is sent.

export function showState(state) {
  const place = document.getElementById("state");
  place.textContent = place.dataset.state = state;
}

// Adds an entry to a list, and scrolls down if its end was visible. Text is never markup. The entry
// is complete when it comes into the page: a screen reader reads it out at once.
export function append(list, position, ...content) {
  const scroll = list.closest(".scroll");
  const follows = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 60;
  const entry = document.createElement("li");
  entry.append(...content);
  entry.dataset.position = position;
  list.append(entry);
  if (follows) scroll.scrollTop = scroll.scrollHeight;
  return entry;
}

// Sends forms without leaving the page. What they change comes by the stream.
export function stay(forms) {
  for (const scroll of document.querySelectorAll(".scroll")) scroll.scrollTop = scroll.scrollHeight;
  for (const form of forms) form.addEventListener("submit", send);
}

async function send(event) {
  event.preventDefault();
  const form = event.target;
  const status = form.querySelector("[role=status]");
  try {
    const body = new FormData(form, event.submitter);
    const response = await fetch(form.action, { method: "POST", body });
    if (!response.ok) throw new Error(`the server returned ${response.status}.`);
    form.reset();
    status.textContent = "";
  } catch (error) {
    status.textContent = `Not sent: ${error.message}`;
  }
}
