// What the pages can do beyond links and forms: keys, theme, filters that send themselves. All of it can be missing.
"use strict";

const all = (what, within = document) => [...within.querySelectorAll(what)];

function toggleTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  document.cookie = `theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=strict`;
}

function showKeys() {
  const keys = document.getElementById("keys");
  keys.open ? keys.close() : keys.showModal();
}

// j and k walk over what can be opened.
function walk(step, what = "[data-item]") {
  const items = all(what).filter((item) => item.offsetParent !== null);
  if (!items.length) return;
  const here = items.findIndex((item) => "here" in item.dataset);
  const top = items.findIndex((item) => item.getBoundingClientRect().bottom > 60);
  const from = here >= 0 ? here + step : step > 0 ? Math.max(top, 0) : Math.max(top - 1, 0);
  for (const item of all("[data-here]")) delete item.dataset.here;
  const next = items[Math.min(Math.max(from, 0), items.length - 1)];
  next.dataset.here = "";
  next.scrollIntoView({ block: "nearest" });
}

// Enter unfolds all of what is walked to, or folds it again; where nothing is folded, it goes to its first link.
function open() {
  const here = document.querySelector("[data-here]");
  if (!here) return;
  const folds = all("details", here);
  const closed = folds.some((fold) => !fold.open);
  for (const fold of folds) fold.open = closed;
  if (!folds.length) here.querySelector(".what a, a:not([tabindex])")?.click();
}

const keys = {
  "/": () => document.querySelector("[data-search]")?.select(),
  j: () => walk(1),
  k: () => walk(-1),
  n: () => walk(1, "[data-failed]"),
  p: () => walk(-1, "[data-failed]"),
  d: toggleTheme,
  "?": showKeys,
  Enter: open,
  "[": () => document.querySelector("[data-previous]")?.click(),
  "]": () => document.querySelector("[data-next]")?.click(),
};

let going = 0;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const field = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "Escape" && field) return field.blur();
  if (field || (event.key === "Enter" && event.target.closest("a, button, summary"))) return;
  if (going && Date.now() - going < 1500) {
    going = 0;
    const there = document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
    if (there) there.click();
    return;
  }
  if (event.key === "g") {
    going = Date.now();
    return;
  }
  const does = keys[event.key];
  if (does) {
    event.preventDefault();
    does();
  }
});

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-theme-toggle]")) toggleTheme();
  if (event.target.closest("[data-keys]")) showKeys();
});
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
});

// On a narrow screen the page's own name in the navigation may be out of sight.
document.querySelector(".top nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

// The first page: what is recorded is put on top as it comes. Nobody listens while the page is hidden.
const SHOWN = 300;
const badge = document.querySelector("[data-stream]");
if (badge) {
  const list = document.querySelector("[data-happenings]");
  let source = null;
  let place = "";
  const say = (text, kind) => {
    badge.textContent = text;
    badge.className = `badge ${kind}`;
  };
  const add = (event) => {
    place = event.lastEventId;
    document.querySelector("[data-nothing]")?.remove();
    const made = document.createElement("template");
    made.innerHTML = event.data; // made, and escaped, by the service's own template
    const item = made.content.querySelector("li");
    const before = all("li", list).find((other) => other.dataset.name === item.dataset.name);
    if (before) {
      before.replaceWith(item);
    } else {
      item.classList.add("new");
      list.prepend(item);
    }
    while (list.children.length > SHOWN) list.lastElementChild.remove();
  };
  const listen = () => {
    const there = new URL(badge.dataset.stream, location.href);
    if (place) there.searchParams.set("since", place);
    source = new EventSource(there);
    source.onopen = () => say("live", "good");
    source.onmessage = add;
    source.onerror = () => {
      say("not connected", "");
      if (source.readyState === EventSource.CLOSED) setTimeout(() => document.hidden || listen(), 5000);
    };
  };
  document.addEventListener("visibilitychange", () => {
    source?.close();
    if (document.hidden) say("paused", "");
    else listen();
  });
  addEventListener("pagehide", () => source?.close());
  if (!document.hidden) listen();
}
