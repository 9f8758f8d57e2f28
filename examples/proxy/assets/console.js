// Shows what changes without a reload. Everything works without this as well.
"use strict";

const live = document.querySelector("[data-live]");
const connection = document.querySelector("[data-connection]");

const isGone = (node) => "gone" in node.dataset;

// Parts that say no version are the same while they look the same.
const isSame = (node, fresh) =>
  node.dataset.version === undefined ? node.isEqualNode(fresh) : node.dataset.version === fresh.dataset.version;

// What somebody types into, or has opened, is left alone.
const isInUse = (node) => node.contains(document.activeElement) || node.querySelector("details[open]") !== null;

// What stays is not touched, so that a note that is being typed is not lost. What does not wait any
// more keeps its place, so that nothing else comes under the pointer of who is about to decide.
function show(fresh) {
  const wanted = new Map([...fresh.children].map((node) => [node.dataset.key, node]));
  for (const node of [...live.children]) {
    const other = wanted.get(node.dataset.key);
    if (isGone(node) || (other && isSame(node, other))) continue;
    if (node.dataset.version === "pending") {
      node.dataset.gone = "";
      node.inert = true;
    } else if (!other || node.dataset.version !== undefined || !isInUse(node)) {
      node.remove();
    }
  }
  let place = live.firstElementChild;
  for (const node of [...fresh.children]) {
    while (place && isGone(place)) place = place.nextElementSibling;
    if (place?.dataset.key !== node.dataset.key) {
      live.insertBefore(node, place);
      continue;
    }
    if (place.dataset.version !== undefined) {
      const times = node.querySelectorAll("time");
      place.querySelectorAll("time").forEach((time, index) => (time.textContent = times[index].textContent));
    }
    place = place.nextElementSibling;
  }
}

// Nobody is about to decide on a page that is not seen.
document.addEventListener?.("visibilitychange", () => {
  if (document.hidden) [...live.children].filter(isGone).forEach((node) => node.remove());
});

let refreshing = false;
let again = false;

async function refresh() {
  again = true;
  if (refreshing) return;
  refreshing = true;
  try {
    while (again) {
      again = false;
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("[data-live]");
      if (!fresh) {
        lost();
        return;
      }
      show(fresh);
      document.title = page.title;
    }
  } catch {
    connection.textContent = "Not connected.";
  } finally {
    refreshing = false;
  }
}

let changes;

function lost() {
  changes.close();
  connection.textContent = "Signed out. Reload to sign in.";
}

// What the page is about: approvals or decisions; nothing if it does not change by itself.
if (live?.dataset.live) {
  changes = new EventSource(`/events/${live.dataset.live}`);
  changes.onopen = () => {
    connection.textContent = "Live";
    refresh();
  };
  changes.onmessage = refresh;
  changes.onerror = () => {
    if (changes.readyState !== EventSource.CLOSED) {
      connection.textContent = "Not connected.";
      return;
    }
    // Either nobody is signed in any more, which the page then says, or too many pages are live.
    connection.textContent = "Not live. Reload to see what is new.";
    refresh();
  };
}
