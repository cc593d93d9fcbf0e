"use strict";
// Keeps the page as the server says it is: parts of HTML, and the figures drawn in them.

const parts = document.getElementById("parts");
const notice = document.getElementById("notice");
const fault = document.getElementById("fault");

// A button must not be replaced between the press and the release that make a click.
let released = Promise.resolve();
document.addEventListener("pointerdown", () => {
  released = new Promise((resolve) => {
    for (const name of ["pointerup", "pointercancel"]) {
      // What is made of it, such as a click, comes first.
      document.addEventListener(name, () => setTimeout(resolve), {once: true});
    }
  });
});

// Put HTML into a part, and keep the charts that are drawn there.
function fill(part, html) {
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  const scrolled = [...part.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
  for (const chart of part.querySelectorAll(".chart")) {
    const place = fresh.content.getElementById(chart.id);
    if (place === null) {
      Plotly.purge(chart);
    } else {
      chart.style.cssText = place.style.cssText;
      chart.ariaLabel = place.ariaLabel;
      place.replaceWith(chart);
    }
  }
  part.replaceChildren(fresh.content);
  part.querySelectorAll(".scroll").forEach((each, i) => { each.scrollLeft = scrolled[i] ?? 0; });
}

async function update(news) {
  await released;
  document.title = `${news.title} | Glassy`;
  notice.textContent = news.notice;
  const focused = document.activeElement;
  const known = new Map([...parts.children].map((part) => [part.dataset.key, part]));
  const kept = new Set(news.parts.map(([key]) => key));
  for (const [key, part] of known) if (!kept.has(key)) { fill(part, ""); part.remove(); }
  news.parts.forEach(([key, html], i) => {
    let part = known.get(key);
    if (part === undefined) {
      part = document.createElement("div");
      part.dataset.key = key;
    }
    if (parts.children[i] !== part) parts.insertBefore(part, parts.children[i] ?? null);
    if (html !== null) fill(part, html);
  });
  if (focused.id && !focused.isConnected) {
    const same = document.getElementById(focused.id) ?? document.getElementById("running");
    same?.focus({preventScroll: true});
  }
  await draw(news.figures);
}

let updated = Promise.resolve();
const source = new EventSource("events");
source.addEventListener("open", () => { fault.textContent = ""; });
source.addEventListener("message", (event) => {
  const news = JSON.parse(event.data);
  updated = updated.then(() => update(news));
});
source.addEventListener("error", () => {
  fault.textContent = source.readyState === EventSource.CLOSED
    ? "This address is no longer valid: start the page's command again, and open what it prints."
    : "The program that shows this page does not answer: it has ended, or the network is down. "
      + "If it has ended, start its command again, and open the address that it prints.";
});

parts.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-request]");
  if (button === null || button.ariaDisabled === "true") return;
  if (!confirm(button.dataset.question)) return;
  // Not `disabled`, which would take the keyboard away from it.
  button.ariaDisabled = "true";
  try {
    const answer = await fetch("stop", {
      method: "POST",
      headers: {"Content-Type": "application/json"},
      body: button.dataset.request,
    });
    const said = answer.headers.get("content-type")?.startsWith("application/json")
      ? await answer.json() : {error: await answer.text()};
    fault.textContent = said.error ?? "";
  } catch {
    fault.textContent = "This was not sent: the program that shows this page does not answer.";
  }
  button.ariaDisabled = null;
});
