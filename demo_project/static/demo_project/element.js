// Creates an element. `text` is set as text, never as markup.
export function element(name, attributes = {}, text = null) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}

const HISTORY_MS = 500;

// Makes a region live once what the page begins with is in it: history is not read out.
export async function announceFromNow(region) {
  await new Promise((resolve) => setTimeout(resolve, HISTORY_MS));
  region.setAttribute("aria-live", "polite");
}
