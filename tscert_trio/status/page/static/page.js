// Keeps the page as it would be if it were loaded again: told by the server's events, or once in 30 seconds.
"use strict";

(() => {
  if (!document.querySelector("[data-live]")) return;  // nothing on it changes

  const ROOT = new URL("..", document.currentScript.src);
  const GAP = 2000;        // ms between two loads
  const AGE = 30000;       // ms after which "in 3 hours" is looked at again
  const MOST = 30000;      // ms between two tries while the service is away
  const LIMIT = 10000;     // ms in which it has to answer
  const HOLD = 60000;      // ms for which a row may be older than the page, since somebody marks text in it
  const FOCUSABLE = "a[href], summary, input, select, button, [tabindex]";

  let events = null;
  let timer = null;
  let loading = null;      // aborts the load under way
  let isMissed = false;    // a change came during a load
  let lastLoad = performance.now();
  let failures = 0;
  let awaySince = null;
  const heldSince = new WeakMap();  // of rows that are older than the page

  // What a browser writes into the HTML itself says nothing about the server.
  const source = (node) => node.outerHTML.replaceAll(' open=""', "");

  // Which of the same kind in the new part stands for an element of the old one, whatever came or went before it.
  function twin(element, before, after, kind) {
    const key = (each) =>
      [each.closest("[data-key]")?.dataset.key, each.localName, each.getAttribute("href")].join(" ");
    const like = (part) => [...part.querySelectorAll(kind)].filter((each) => key(each) === key(element));
    return like(after)[like(before).indexOf(element)];
  }

  // The text that somebody marks, to copy it. Asking for it lays out the page, so it is done once for all rows.
  function markedRange() {
    const selection = getSelection();
    return selection.isCollapsed ? null : selection.getRangeAt(0);
  }

  // Change a part of the page, and keep focus and what is open in it. The focus goes to no other name: where
  // its link is gone it stays in the row, or is let go.
  function swap(before, after, change) {
    for (const each of before.querySelectorAll("details")) {
      const same = twin(each, before, after, "details");
      if (same) same.open = each.open;
    }
    const focused = before.contains(document.activeElement) ? document.activeElement : null;
    let next = focused && twin(focused, before, after, FOCUSABLE);
    if (focused && !next && before.matches(".row")) {
      next = after.querySelectorAll(FOCUSABLE)[[...before.querySelectorAll(FOCUSABLE)].indexOf(focused)];
    }
    change();
    next?.focus({ preventScroll: true });
  }

  // Whether a row waits since somebody marks text in it: for a while, and not if it is well or bad by now.
  function isHeld(row, after, marked) {
    if (!marked?.intersectsNode(row) || row.className !== after.className) return false;
    if (!heldSince.has(row)) heldSince.set(row, performance.now());
    return performance.now() - heldSince.get(row) < HOLD;
  }

  function updateParts(page) {
    for (const before of document.querySelectorAll("[data-live]")) {
      const after = page.getElementById(before.id);
      if (!after || source(before) === source(after)) continue;
      before.className = after.className;
      const told = before.querySelector("[role=status]");
      const toTell = after.querySelector("[role=status]");
      if (told && toTell) {  // a screen reader tells what changes inside, not what is new
        if (told.innerHTML !== toTell.innerHTML) told.innerHTML = toTell.innerHTML;
        before.querySelector(".mark").replaceWith(after.querySelector(".mark"));
        continue;
      }
      swap(before, after, () => before.replaceChildren(...after.childNodes));
    }
  }

  function updateRows(page) {
    const list = document.querySelector("[data-rows]");
    const fresh = page.querySelector("[data-rows]");
    if (!list || !fresh) return;
    const marked = markedRange();
    const known = new Map([...list.children].map((row) => [row.id, row]));
    let place = list.firstElementChild;
    for (const after of [...fresh.children]) {
      let row = known.get(after.id);
      known.delete(after.id);
      if (!row) {
        row = after;
      } else if (source(row) !== source(after) && !isHeld(row, after, marked)) {
        if (row === place) place = place.nextElementSibling;
        const before = row;
        swap(before, after, () => before.replaceWith(after));
        row = after;
        if (row.nextElementSibling === place) continue;
      }
      if (row === place) {
        place = place.nextElementSibling;
      } else {
        const focused = row.contains(document.activeElement) ? document.activeElement : null;
        list.insertBefore(row, place);
        focused?.focus({ preventScroll: true });
      }
    }
    for (const row of known.values()) row.remove();
  }

  function show(text) {
    const page = new DOMParser().parseFromString(text, "text/html");
    const [x, y] = [scrollX, scrollY];
    document.title = page.title;
    updateParts(page);
    updateRows(page);
    if (scrollX !== x || scrollY !== y) scrollTo(x, y);
  }

  function tellAway(isAway) {
    const note = document.getElementById("away");
    if (!isAway) {
      awaySince = null;
      note.hidden = true;
    } else if (awaySince === null) {
      awaySince = new Date();
      const time = awaySince.toLocaleTimeString([], { timeZoneName: "short" });
      note.textContent = `The service does not answer since ${time}. What you see is older.`;
      note.hidden = false;
    }
  }

  async function load() {
    clearTimeout(timer);
    timer = null;
    loading?.abort();
    const mine = loading = new AbortController();
    const limit = setTimeout(() => mine.abort(), LIMIT);
    lastLoad = performance.now();
    isMissed = false;
    try {
      const answer = await fetch(location.href, { signal: mine.signal });
      const isPage = answer.ok || answer.status === 404;
      if (!isPage) throw new Error(`status ${answer.status}`);
      const text = await answer.text();
      failures = 0;
      tellAway(false);
      if (answer.status === 404) location.reload();
      else show(text);
    } catch {
      if (loading !== mine) return;  // another one has begun
      failures += 1;
      tellAway(true);
    } finally {
      clearTimeout(limit);
    }
    loading = null;
    if (isMissed && !failures) soon();
    else later(failures ? Math.min(GAP * 2 ** (failures - 1), MOST) : AGE);
  }

  function later(delay) {
    clearTimeout(timer);
    timer = document.hidden ? null : setTimeout(load, delay);
  }

  function soon() {
    isMissed = loading !== null;
    if (!loading && !failures) later(Math.max(lastLoad + GAP - performance.now(), 0));
  }

  function listen() {
    events?.close();
    events = new EventSource(new URL("events", ROOT));
    events.addEventListener("change", soon);
    events.addEventListener("open", () => failures ? load() : soon());  // what happened before it was open
    events.addEventListener("error", ({ target }) => {
      if (target.readyState === EventSource.CLOSED && target === events) setTimeout(listenAgain, MOST, target);  // refused, such as by a server that has enough of us
      soon();  // tells whether the service is away
    });
  }

  function listenAgain(old) {
    if (old === events && !document.hidden) listen();
  }

  function watch() {
    if (document.hidden) {  // a browser has few connections for one server
      events?.close();
      events = null;
      clearTimeout(timer);
    } else {
      listen();
      load();
    }
  }

  const form = document.getElementById("filter");
  if (form) {
    let typing = null;
    const filter = () => {
      const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
      history.replaceState(null, "", `${query}` ? `?${query}` : location.pathname);
      load();
    };
    form.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(filter, 150);
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      clearTimeout(typing);
      filter();
    });
    form.classList.add("live");  // no button is needed
  }

  document.addEventListener("visibilitychange", watch);
  if (!document.hidden) {
    listen();
    later(AGE);
  }
  document.documentElement.dataset.ready = "";
})();
