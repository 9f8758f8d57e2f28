// Applies what is chosen or written at once, without loading the page. Everything works
// without this as well, by the buttons.
"use strict";

const APPLY = '["apply"]';
const main = document.getElementById("main");
const told = document.querySelector("[data-connection]");
const builder = () => document.querySelector("[data-builder]");

let turn = Promise.resolve();
let typing;
let leaving = false;

// What has the focus, so that it can be found again in a page that is new.
function focused() {
  const node = document.activeElement;
  if (!node || !main.contains(node)) return undefined;
  return { id: node.id, name: node.name, value: node.tagName === "BUTTON" ? node.value : undefined, start: node.selectionStart, end: node.selectionEnd };
}

function focusAgain(was) {
  if (!was) return;
  const fits = (node) => (was.id ? node.id === was.id : node.name === was.name && (was.value === undefined || node.value === was.value));
  const node = [...main.querySelectorAll("input, select, textarea, button")].find((one) => (was.id || was.name) && fits(one));
  if (!node) return;
  node.focus({ preventScroll: true });
  if (typeof was.start === "number" && node.setSelectionRange && node.type !== "search") node.setSelectionRange(was.start, was.end);
}

// The text stays where it is, with its caret and with what can be undone. Everything else is new.
function show(page, sent) {
  const fresh = page.querySelector("[data-builder]");
  const old = builder();
  const text = old.elements.text;
  const was = focused();
  const filter = old.elements.filter;
  const typed = filter && filter === document.activeElement ? filter.value : undefined;
  const written = text.value !== sent;
  if (!written && text.value !== fresh.elements.text.value) text.value = fresh.elements.text.value;
  for (const part of old.querySelectorAll("[data-part]")) {
    const other = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
    if (other) part.replaceWith(other);
  }
  old.toggleAttribute("data-changed", "changed" in fresh.dataset);
  if (typed !== undefined && old.elements.filter) old.elements.filter.value = typed;
  if (was && was.id !== "text") focusAgain(was);
  document.title = page.title;
  told.textContent = page.querySelector("[data-connection]").textContent;
  // Somebody has gone on writing in the meantime.
  if (written) later();
}

// What was opened is above the list.
function goToRule() {
  const title = document.getElementById("rule-title");
  title?.focus({ preventScroll: true });
  title?.scrollIntoView({ block: "start" });
}

async function send(value) {
  const form = builder();
  if (!form) return;
  const fields = new URLSearchParams(new FormData(form));
  fields.append("do", value);
  const sent = form.elements.text.value;
  try {
    const answer = await fetch(form.getAttribute("action"), { method: "POST", body: fields, headers: { accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (page.querySelector("[data-builder]")) {
      show(page, sent);
      if (value.startsWith('["open"')) goToRule();
    } else told.textContent = page.querySelector(".wrong")?.textContent ?? "Not applied. Load the page again.";
  } catch {
    told.textContent = "Not connected: nothing was applied.";
  }
}

// One after the other: each begins with the text that the one before has made.
function apply(value) {
  clearTimeout(typing);
  turn = turn.then(() => send(value));
}

function later(value = APPLY) {
  clearTimeout(typing);
  typing = setTimeout(() => apply(value), 500);
}

document.addEventListener("submit", (event) => {
  const pressed = event.submitter;
  if (event.target !== builder() || !pressed || "whole" in pressed.dataset) {
    leaving = true;
    return;
  }
  event.preventDefault();
  apply(pressed.value);
});

document.addEventListener("input", (event) => {
  if (event.target.form !== builder() || !builder()) return;
  if (event.target.name === "text") later();
  else if ("filter" in event.target.dataset) later('["filter"]');
});

document.addEventListener("change", (event) => {
  const field = event.target;
  if (field.form === builder() && field.name?.startsWith("f/")) apply(APPLY);
});

// To the line that something is said of.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("[data-line]");
  const text = builder()?.elements.text;
  if (!link || !text) return;
  event.preventDefault();
  const lines = text.value.split("\n");
  const line = Number(link.dataset.line) - 1;
  const start = lines.slice(0, line).reduce((sum, one) => sum + one.length + 1, 0);
  text.focus();
  text.setSelectionRange(start, start + (lines[line] ?? "").length);
  text.scrollTop = (text.scrollHeight / lines.length) * Math.max(line - 3, 0);
});

addEventListener("beforeunload", (event) => {
  if (!leaving && builder() && "changed" in builder().dataset) event.preventDefault();
});
