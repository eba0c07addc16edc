// Takes what has changed from the event stream, keeps ages going, and asks again while a slider moves.
// The page is whole without it.
"use strict";

const ago = (seconds) => {
  if (seconds < 0) return `${-seconds} s ahead of this machine's clock`;
  for (const [unit, name] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= 2 * unit) return `${Math.floor(seconds / unit)} ${name} old`;
  }
  return `${seconds} s old`;
};

const age = () => {
  const now = Math.floor(Date.now() / 1000);
  for (const element of document.querySelectorAll("time[data-at]")) {
    const text = ago(now - Number(element.dataset.at));
    if (element.textContent !== text) element.textContent = text;
  }
};

const made = (html) => {
  const template = document.createElement("template");
  template.innerHTML = html.trim();
  return template.content.firstElementChild;
};

let first = true;
const apply = (told) => {
  const fresh = new Map();
  for (const [id, html] of Object.entries(told.parts || {})) {
    const element = made(html);
    const old = document.getElementById(id);
    if (old) {
      const at = old.contains(document.activeElement) ? [...old.querySelectorAll("a, button, [tabindex]")].indexOf(document.activeElement) : -1;
      if (old.open) element.open = true;
      old.replaceWith(element);
      if (at >= 0) element.querySelectorAll("a, button, [tabindex]")[at]?.focus();
    } else {
      fresh.set(id, element);
    }
    if (!first) element.classList.add("changed");
  }
  const rows = document.getElementById("rows");
  if (rows && told.order) {
    const wanted = new Set(told.order);
    for (const row of [...rows.children]) if (!wanted.has(row.id)) row.remove();
    told.order.forEach((id, index) => {
      const row = document.getElementById(id) || fresh.get(id);
      if (row && rows.children[index] !== row) rows.insertBefore(row, rows.children[index] || null);
    });
  }
  first = false;
  age();
};

const live = document.getElementById("live");
const listen = () => {
  const source = new EventSource("/events?of=" + encodeURIComponent(location.pathname + location.search));
  source.onopen = () => { live.textContent = "live"; };
  source.onerror = () => { live.textContent = "not connected: what is shown may be old"; };
  source.onmessage = (event) => apply(JSON.parse(event.data));
  addEventListener("pagehide", () => source.close());
};

const ask = document.getElementById("ask");
if (ask) {
  let asked = 0;
  let waiting;
  const question = () => {
    const found = new URLSearchParams();
    for (const input of ask.querySelectorAll("input[name]")) {
      if (input.nextElementSibling?.tagName === "OUTPUT") input.nextElementSibling.textContent = `${input.value}%`;
      found.set(input.name, input.value);
    }
    return found;
  };
  const answer = async () => {
    const mine = ++asked;
    const reply = await fetch(`${ask.dataset.answer}?${question()}`);
    const html = await reply.text();
    if (mine === asked) document.getElementById("result").innerHTML = reply.ok ? html : "";
  };
  ask.addEventListener("input", () => {
    question();
    clearTimeout(waiting);
    waiting = setTimeout(answer, 80);
  });
  ask.addEventListener("submit", (event) => {
    event.preventDefault();
    answer();
  });
}

age();
setInterval(age, 1000);
if (live) listen();
