// What a page does when messages are gone: it loads the present state.

import { report } from "./report.js";

const SPREAD_MS = 2_000; // over which the pages of all users reload
const REST_MS = 10_000; // between two reloads of a page
const RELOADED = "eric-sse reloaded";
const TRIES = 4;

/**
 * Reload the page, once it is shown. Not at once, because a reset may concern all users at the
 * same time; and not again and again.
 */
export async function reload(): Promise<never> {
  const wait = Number(stored() ?? 0) + REST_MS - Date.now();
  await sleep(Math.max(Math.random() * SPREAD_MS, Math.min(wait, REST_MS)));
  while (document.hidden) {
    await new Promise((resolve) =>
      document.addEventListener("visibilitychange", resolve, { once: true }),
    );
  }
  stored(`${Date.now()}`);
  location.reload();
  return new Promise(() => {}); // later messages are for the next page
}

// The time of the last reload, which is set to `text` if given. A page may have no storage.
function stored(text?: string): string | null {
  try {
    if (text) sessionStorage.setItem(RELOADED, text);
    return sessionStorage.getItem(RELOADED);
  } catch {
    return null;
  }
}

/**
 * Return a function for `onreset` that loads a page again, by default this one, and replaces what
 * is inside of the elements of a selector. If it cannot, it reloads the page.
 */
export function refetch(selector: string, url?: string | URL): () => Promise<void> {
  return () => persist(() => replace(selector, url ?? location.href));
}

/** Call `load` until it does not fail or return false. If it always does, reload the page. */
export async function persist(load: () => unknown, tries = 0): Promise<void> {
  for (; tries < TRIES; tries++) {
    await sleep((2 ** tries - 1) * 1_000 * Math.random());
    try {
      if ((await load()) !== false) return;
    } catch (error) {
      report(error);
    }
  }
  await reload();
}

async function replace(selector: string, url: string | URL): Promise<boolean> {
  const response = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(10_000) });
  if (!response.ok) return false;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const [old, fresh] = [document, page].map((each) => [...each.querySelectorAll(selector)]);
  if (!old?.length || old.length !== fresh?.length) return false;
  old.forEach((element, n) => element.replaceChildren(...(fresh[n]?.childNodes ?? [])));
  return true;
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
