// Sends a form with fetch(), and shows the result, each error beside its field.

export function wire(form, done) {
  const status = form.querySelector(".done");
  let isSending = false; // a button that is disabled would lose the focus

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (isSending) return;
    isSending = true;
    showErrors(form, {});
    status.textContent = "";
    status.classList.remove("failed");
    try {
      const answer = await send(form);
      if (answer.errors) {
        showErrors(form, answer.errors);
      } else {
        form.elements.text.value = "";
        status.textContent = done(form);
      }
    } catch (error) {
      status.classList.add("failed");
      status.textContent = error.message;
    } finally {
      isSending = false;
    }
  });

  form.addEventListener("input", (event) => {
    status.textContent = "";
    showError(form, event.target, []);
  });
}

async function send(form) {
  let response;
  try {
    response = await fetch(form.action, { method: "POST", body: new FormData(form) });
  } catch {
    throw new Error("Not sent: the server does not respond. Try again in a moment.");
  }
  if (response.status === 201 || response.status === 400) return response.json();
  if (response.status === 403) throw new Error("Not sent: this page has expired. Reload it.");
  throw new Error(`Not sent: the server returned ${response.status}.`);
}

function showErrors(form, errors) {
  const fields = [...form.elements].filter(({ name, type }) => name && type !== "hidden");
  for (const field of fields) showError(form, field, errors[field.name] ?? []);
  fields.find((field) => errors[field.name])?.focus();
}

function showError(form, field, messages) {
  const place = form.querySelector(`#${field.id}-error`);
  if (!place) return;
  place.textContent = messages.join(" ");
  if (messages.length) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
}
