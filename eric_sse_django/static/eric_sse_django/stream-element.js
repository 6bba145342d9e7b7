// <eric-stream src="…" library="unpoly" client="…/eric-sse.js">: a stream that changes the page.
//
// It applies the HTML that broadcast_template() sends to libraries that open no streams
// (Unpoly, Alpine AJAX), and to pages without a library. For htmx and Turbo it is the stream of
// their messages that survives an error of a proxy, and that all tabs of the browser share.
//
// The template tag {% eric_stream %} writes the element; its stream is that of connect().

const REFRESH_DELAY_MS = 200; // several refreshes within that time are one
const LONGEST_DELAY_MS = 2_000; // after that a refresh does not wait for a pause any more

const TRIES = 7; // to fetch what a refresh names, within two minutes

// Alpine initializes what is put in the page by itself.
const appliers = { unpoly, alpine: plain, plain, turbo, htmx2, htmx4 };
const globals = { unpoly: "up", turbo: "Turbo", htmx2: "htmx", htmx4: "htmx" };

class EricStream extends HTMLElement {
  #stream = null;
  #last = null; // an element that is moved continues after its last message
  static observedAttributes = ["src"];

  async connectedCallback() {
    const { connect } = await import(clientOf(this));
    const library = this.getAttribute("library");
    await scripts(globals[library]);
    if (!this.isConnected || this.#stream) return;
    const apply = appliers[library] ?? plain;
    const path = pathOf(this);
    if (this.#last) path.searchParams.set("last_event_id", this.#last);
    this.#stream = connect(path, {
      parse: String,
      refresh: () => freshPath(path.pathname),
      onreset: "reload",
      onmessage: ({ type, data }) => type === "message" && inTurn(() => apply(data, this)),
      onstate: (state) => this.#show(state),
    });
  }

  disconnectedCallback() {
    this.#last = this.#stream?.lastEventId || this.#last;
    this.#stream?.close();
    this.#stream = null;
  }

  // A page that was loaded again and morphed into this one begins where it was rendered: what came
  // since then was replaced by it. Without a cursor, the server's decides.
  attributeChangedCallback(_, before) {
    if (!this.#stream || before === this.getAttribute("src")) return;
    if (!pathOf(this).searchParams.has("last_event_id")) return;
    this.disconnectedCallback();
    this.#last = null;
    void this.connectedCallback();
  }

  #show(state) {
    this.setAttribute("state", state);
    this.dispatchEvent(new CustomEvent("eric-state", { detail: state, bubbles: true }));
  }
}

// The file of connect(). HTML that others write must not be able to name another one.
function clientOf(element) {
  const url = new URL(element.getAttribute("client"), document.baseURI);
  if (url.origin === new URL(import.meta.url).origin) return url.href;
  throw new Error(`not imported: ${url} has another origin than ${import.meta.url}`);
}

// A library may load after this script, which could not apply a message until then.
async function scripts(name) {
  if (!name || window[name] || document.readyState === "complete") return;
  await new Promise((resolve) => addEventListener("load", resolve, { once: true }));
}

const pathOf = (element) => new URL(element.getAttribute("src"), document.baseURI);

// A page that is rendered again has a new ticket. Returns the path of its stream.
async function freshPath(pathname) {
  const page = await fetchPage();
  const found = [...page.querySelectorAll("eric-stream")].map(pathOf);
  const path = found.find((each) => each.pathname === pathname);
  if (!path) throw new Error(`no new ticket: ${location.href} has no stream of ${pathname}`);
  return path;
}

async function fetchPage() {
  const response = await fetch(location.href, {
    headers: { Accept: "text/html" },
    cache: "no-store",
  });
  if (!response.ok) throw new Error(`not loaded: ${response.status} of ${response.url}`);
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

// Applies the changes of a message, each a <template data-action data-target>.
function changes(html, change) {
  const message = document.createElement("template");
  message.innerHTML = html;
  for (const each of message.content.querySelectorAll("template[data-action]")) {
    const { action, target } = each.dataset;
    if (action === "refresh") refresh(target);
    else keepingFocus(() => change(action, target, each.content));
  }
}

function plain(html) {
  changes(html, swap);
}

function unpoly(html) {
  const discard = (element) => window.up.destroy(element, { log: false });
  changes(html, (...change) => swap(...change, discard).forEach((each) => window.up.hello(each)));
}

function turbo(html) {
  window.Turbo.renderStreamMessage(html);
}

function htmx2(html, element) {
  window.htmx.swap(element, html, { swapStyle: "none" }, { contextElement: element });
}

function htmx4(html, element) {
  window.htmx.swap({ sourceElement: element, target: element, text: html, swap: "none" });
}

// Returns the elements that were put in the page. `discard` removes one.
function swap(action, selector, content, discard = (element) => element.remove()) {
  const added = [];
  for (const target of document.querySelectorAll(selector)) {
    const copy = document.importNode(content, true);
    const elements = [...copy.children];
    if (action === "append" || action === "prepend") {
      // A page that has the element already does not get it twice.
      const ids = elements.map(({ id }) => id && document.getElementById(id));
      ids.filter(Boolean).forEach(discard);
    }
    const old = action === "update" ? [...target.childNodes] : [];
    if (action === "append" || action === "update") target.append(copy);
    else if (action === "prepend") target.prepend(copy);
    else if (action === "before") target.before(copy);
    else if (action === "after") target.after(copy);
    else if (action === "replace") target.before(copy);
    for (const each of old) each instanceof Element ? discard(each) : each.remove();
    if (action === "replace" || action === "remove") discard(target);
    added.push(...elements);
  }
  return added;
}

// If the element with the focus is replaced, the new one with its id gets it; without that, the
// next one around it that can have it. Else people with a keyboard begin at the top again.
function keepingFocus(change) {
  const focused = document.activeElement;
  const ids = [];
  for (let each = focused; each; each = each.parentElement) if (each.id) ids.push(each.id);
  change();
  if (focused?.isConnected) return;
  for (const id of ids) {
    const found = document.getElementById(id);
    found?.focus();
    if (found && document.activeElement === found) return;
  }
}

// Refreshing -----------------------------------------------------------------------------

const wanted = new Set();
let since = null;
let timer = null;
let loading = null; // until what is fetched is in the page

// What is fetched may be older than a message that comes meanwhile: it is applied afterwards.
function inTurn(change) {
  return loading ? loading.then(change) : change();
}

// Fetches targets from the page's own path, "" for the whole page.
function refresh(target) {
  wanted.add(target);
  since ??= Date.now();
  const longest = since + LONGEST_DELAY_MS - Date.now();
  loadAfter(Math.max(0, Math.min(REFRESH_DELAY_MS, longest)));
}

function loadAfter(ms, tries = 0) {
  clearTimeout(timer);
  timer = setTimeout(() => {
    const targets = [...wanted];
    wanted.clear();
    since = null;
    const own = Promise.resolve(loading)
      .then(() => load(targets))
      .catch((error) => again(error, targets, tries + 1))
      .finally(() => loading === own && (loading = null));
    loading = own;
  }, ms);
}

// The server may be unavailable for some minutes: while it is replaced, for example.
function again(error, targets, tries) {
  reportError(error);
  if (tries === TRIES) return;
  targets.forEach((target) => wanted.add(target));
  loadAfter(1_000 * 2 ** tries * (0.5 + Math.random() / 2), tries);
}

async function load(targets) {
  if (targets.includes("")) return location.reload();
  if (window.up) return window.up.reload(targets.join(", "));
  const page = await fetchPage();
  for (const target of targets) {
    const found = [...page.querySelectorAll(target)];
    keepingFocus(() =>
      document.querySelectorAll(target).forEach((old, index) => {
        if (found[index]) old.replaceWith(document.importNode(found[index], true));
      }),
    );
  }
}

customElements.define("eric-stream", EricStream);
