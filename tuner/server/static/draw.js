"use strict";

// Width of the pen: 7 % of the sheet's side, like the lines of digits.
const PEN = 0.07;

const byId = (id) => document.getElementById(id);
const sheet = byId("sheet");
const canvas = sheet.querySelector("canvas");
const preview = byId("preview");
const rows = [...byId("classes").children];
const shown = byId("shown").querySelector("img");
const undo = byId("undo");
const clear = byId("clear");
const file = byId("file");
const maxBytes = Number(document.body.dataset.maxBytes);
const paper = canvas.getContext("2d");

// Lines of points that are drawn; the one that a pointer is drawing now is the last.
let lines = [];
let pointer = null;
let asked = null;

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [
    ((event.clientX - box.left) * canvas.width) / box.width,
    ((event.clientY - box.top) * canvas.height) / box.height,
  ];
}

function redraw() {
  paper.fillStyle = "white";
  paper.fillRect(0, 0, canvas.width, canvas.height);
  paper.lineWidth = PEN * canvas.width;
  paper.lineCap = paper.lineJoin = "round";
  for (const line of lines) {
    paper.beginPath();
    paper.moveTo(...line[0]);
    // A single point is joined to itself, which makes a dot.
    for (const point of line.length > 1 ? line.slice(1) : line) paper.lineTo(...point);
    paper.stroke();
  }
}

function showState() {
  byId("hint").hidden = lines.length > 0 || !preview.hidden;
  undo.disabled = lines.length === 0;
  clear.disabled = lines.length === 0 && preview.hidden;
}

canvas.addEventListener("pointerdown", (event) => {
  if (pointer !== null || event.button !== 0) return;
  event.preventDefault();
  pointer = event.pointerId;
  // A line continues when the pen leaves the sheet and comes back.
  canvas.setPointerCapture(pointer);
  say("");
  lines.push([place(event)]);
  redraw();
  showState();
});
canvas.addEventListener("pointermove", (event) => {
  if (event.pointerId !== pointer) return;
  const parts = event.getCoalescedEvents?.() ?? [];
  lines.at(-1).push(...(parts.length ? parts : [event]).map(place));
  redraw();
});
for (const end of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(end, (event) => {
    if (event.pointerId !== pointer) return;
    pointer = null;
    classifyDrawing();
  });
}

undo.addEventListener("click", takeBack);
clear.addEventListener("click", () => {
  empty();
  forget();
});
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z") {
    event.preventDefault();
    takeBack();
  }
});

function takeBack() {
  if (lines.length === 0 || pointer !== null) return;
  lines.pop();
  redraw();
  showState();
  say("");
  if (lines.length > 0) classifyDrawing();
  else forget();
}

function empty() {
  lines = [];
  preview.hidden = true;
  file.value = "";
  redraw();
  showState();
  say("");
}

file.addEventListener("change", () => open([...file.files]));
document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (files.length > 0) {
    event.preventDefault();
    open(files);
  }
});
// Outside the sheet too, where the browser would leave the page for the dropped file.
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    sheet.classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) sheet.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  sheet.classList.remove("over");
  const files = [...event.dataTransfer.files];
  if (files.length > 0) open(files);
  else say("This cannot be used: drop an image file.");
});

async function open(files) {
  if (files.length === 0) return;
  if (files.length > 1) return say("Open one image at a time.");
  const [image] = files;
  empty();
  forget();
  if (image.size > maxBytes) {
    return say(
      `${image.name} cannot be used: it must have at most ${maxBytes.toLocaleString("en")} ` +
        `bytes, but has ${image.size.toLocaleString("en")}.`,
    );
  }
  const answer = await classify(image, image.name);
  if (!answer) return;
  preview.querySelector("img").src = answer.preview;
  preview.hidden = false;
  showState();
}

function classifyDrawing() {
  canvas.toBlob((blob) => {
    // The sheet may have been cleared meanwhile.
    if (blob && lines.length > 0) classify(blob, "The drawing");
  }, "image/png");
}

// Classifies an image; only the latest of several requests is answered.
async function classify(image, name) {
  asked?.abort();
  asked = new AbortController();
  const { signal } = asked;
  byId("answer").setAttribute("aria-busy", "true");
  let fault = "";
  try {
    const response = await fetch("classify", {
      method: "POST",
      headers: { "Content-Type": image.type.startsWith("image/") ? image.type : "application/octet-stream" },
      body: image,
      signal,
    });
    const text = await response.text();
    if (response.ok) {
      const answer = JSON.parse(text);
      show(answer);
      return answer;
    }
    fault = response.headers.get("Content-Type")?.includes("json") ? JSON.parse(text).error : text;
  } catch (error) {
    if (signal.aborted) return null;
    fault = "The page's server does not answer. Is it still running?";
  } finally {
    if (!signal.aborted) byId("answer").setAttribute("aria-busy", "false");
  }
  forget();
  say(`${name} cannot be used: ${fault}`);
  return null;
}

const percent = (share) => `${(100 * share).toFixed(1)}%`;

function show(answer) {
  shown.src = answer.shown;
  shown.hidden = false;
  showClasses(answer.classes, "No ink: the image has only one colour");
}

// Names are always text, never markup.
function showClasses(classes, note) {
  showTop(classes[0]?.name, note);
  rows.forEach((row, i) => {
    const found = classes[i];
    row.querySelector(".name").textContent = found?.name ?? "";
    row.querySelector(".name").title = found?.name ?? "";
    row.querySelector(".share").textContent = found ? percent(found.probability) : "";
    row.querySelector(".bar span").style.width = percent(found?.probability ?? 0);
  });
}

function showTop(name, note) {
  const text = document.createElement("span");
  text.textContent = name ?? note;
  if (name === undefined) text.className = "soft";
  byId("top").replaceChildren(text);
  byId("top").title = name ?? "";
}

function forget() {
  asked?.abort();
  byId("answer").setAttribute("aria-busy", "false");
  shown.hidden = true;
  shown.removeAttribute("src");
  showClasses([], "No ink yet");
}

function say(fault) {
  byId("fault").textContent = fault;
}

redraw();
showState();
