// Sends the position up to which messages were processed, a second's positions at once.

import { report } from "./report.js";
import type { Acknowledge } from "./types.js";

const WAIT_MS = 1_000;
const RETRY_MS = 5_000; // after a first failure, and up to MAX_RETRY_MS after several
const MAX_RETRY_MS = 300_000;

export class Acknowledger {
  #send: Acknowledge;
  #isMine: () => boolean;
  #processed = 0;
  #sent = 0;
  #failures = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `isMine` returns whether this tab, of those that share a stream, is the one that sends. */
  constructor(send: Acknowledge, isMine: () => boolean) {
    this.#send = send;
    this.#isMine = isMine;
  }

  processed(position: number): void {
    this.#processed = position;
    this.#timer ??= setTimeout(() => void this.flush(), WAIT_MS);
  }

  async flush(keepalive = false): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const position = this.#processed;
    if (position === this.#sent || !this.#isMine()) return;
    try {
      await this.#send(position, { keepalive });
      this.#sent = position;
      this.#failures = 0;
    } catch (error) {
      report(error);
      const pauseMs = Math.min(MAX_RETRY_MS, RETRY_MS * 2 ** this.#failures++);
      this.#timer ??= setTimeout(() => void this.flush(), pauseMs);
    }
  }
}

/** The paths of the API's operation for the listeners of a stream. */
export function pathsOf(url: URL): string[] {
  const segments = url.pathname.split("/").filter(Boolean);
  const channels = url.searchParams.getAll("channel");
  const listeners = url.searchParams.getAll("listener");
  const pairs = channels.length
    ? channels.map((channel, n) => [channel, listeners[listeners.length > 1 ? n : 0] ?? ""])
    : [segments.slice(-2).map(decodeURIComponent)];
  return pairs
    .filter(([, listener]) => listener)
    .map((pair) => pair.map((id) => encodeURIComponent(id ?? "")))
    .map(([channel, listener]) => `/api/channels/${channel}/listeners/${listener}/ack`);
}

/** POST positions, with Django's CSRF token, to these paths. */
export function poster(paths: () => string[]): Acknowledge {
  return async (position, { keepalive }) => {
    const answers = paths().map((path) =>
      fetch(path, {
        method: "POST",
        keepalive,
        headers: { "Content-Type": "application/json", "X-CSRFToken": csrfToken() },
        body: JSON.stringify({ position }),
      }),
    );
    for (const { ok, status, url } of await Promise.all(answers)) {
      if (!ok) throw new Error(`not acknowledged: ${status} of ${url}`);
    }
  };
}

function csrfToken(): string {
  const cookie = /(?:^|; )csrftoken=([^;]*)/.exec(document.cookie)?.[1];
  const input = document.querySelector<HTMLInputElement>("input[name=csrfmiddlewaretoken]");
  return cookie ?? input?.value ?? "";
}
