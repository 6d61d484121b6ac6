"use strict";
// What people do, and what comes of it.

const at = (id) => document.getElementById(id);

function select(operation, reveals = true) {
  view.selected = operation;
  if (operation < 0) details.hidden = true;
  else showDetails(operation);
  // The panel takes room from the picture, or gives it back.
  fitCanvases();
  view.clamp();
  if (operation >= 0 && reveals) {
    if (lanes[operations.lane[operation]].height === 0) setProofOnly(false);
    view.reveal(operation);
  }
  redraw();
}

/** Changes the axis; the middle of the picture stays where it is. */
function setEvenly(evenly) {
  if (!isTimed || axis.evenly === evenly) return;
  const wasAll = view.scale <= view.fittingScale * 1.001;
  const [from, to] = [view.place(LABELS), view.right].map(nearestEvent);
  axis.evenly = evenly;
  at("evenly").checked = evenly;
  if (wasAll) view.showAll();
  else view.frame(axis.at(from), axis.at(to), 0);
  redraw();
}

function nearestEvent(place) {
  const index = search(0, times.length, (event) => axis.at(event) >= place);
  return Math.min(index, times.length - 1);
}

function setProofOnly(proofOnly) {
  view.proofOnly = proofOnly;
  at("proof-lanes").checked = proofOnly;
  fitCanvases();
  view.clamp();
  redraw();
}

function setOrdered(ordered) {
  if (!order) return;
  view.ordered = ordered;
  at("ordered").checked = ordered;
  redraw();
}

/** All of the proof; where its lanes are too far apart for that, nothing but these. */
function showWitness() {
  if (!view.proofFits()) setProofOnly(true);
  view.showWitness();
  redraw();
}

function showAll() {
  view.showAll();
  redraw();
}

function zoom(factor, x) {
  view.zoom(factor, x);
  redraw();
}

function pan(x, y) {
  view.left += x / view.scale;
  view.top += y;
  view.clamp();
  redraw();
}

// Search.

function startSearch() {
  view.hits = find(at("search").value.trim());
  hitSet = new Set(view.hits);
  view.hit = -1;
  tellFound();
  redraw();
}

function tellFound() {
  const { hits, hit } = view;
  at("previous").disabled = at("next").disabled = hits.length === 0;
  if (at("search").value.trim() === "") at("found").textContent = "";
  else at("found").textContent = hit < 0 ? `${hits.length} found` : `${hit + 1} of ${hits.length}`;
}

function goToHit(step) {
  const { hits } = view;
  if (hits.length === 0) return;
  view.hit = view.hit < 0 ? (step > 0 ? 0 : hits.length - 1) : (view.hit + step + hits.length) % hits.length;
  tellFound();
  select(hits[view.hit]);
}

/** The next or previous operation of the client whose operation is selected. */
function goAlongLane(step) {
  if (view.selected < 0) return select(view.hits[0] ?? witness[0] ?? 0);
  const lane = operations.lane[view.selected];
  let operation = view.selected + step;
  while (operation >= 0 && operation < operations.count && operations.lane[operation] !== lane) operation += step;
  if (operation >= 0 && operation < operations.count) select(operation);
}

// Light and dark.

function toggleTheme() {
  const root = document.documentElement;
  const isDark = root.classList.contains("dark")
    || (!root.classList.contains("light") && matchMedia("(prefers-color-scheme: dark)").matches);
  root.classList.toggle("dark", !isDark);
  root.classList.toggle("light", isDark);
  readColours();
  redraw();
}

// The mouse.

let dragged = null;

canvas.addEventListener("pointerdown", (event) => {
  dragged = { x: event.offsetX, y: event.offsetY, moved: false };
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointermove", (event) => {
  if (dragged) {
    const [x, y] = [dragged.x - event.offsetX, dragged.y - event.offsetY];
    if (!dragged.moved && Math.abs(x) + Math.abs(y) < 4) return;
    dragged = { x: event.offsetX, y: event.offsetY, moved: true };
    canvas.classList.add("dragged");
    hideTip();
    return pan(x, y);
  }
  const hovered = view.operationAt(event.offsetX, event.offsetY);
  if (hovered !== view.hovered) {
    view.hovered = hovered;
    redraw();
  }
  showTip(hovered, event.offsetX, event.offsetY);
});
canvas.addEventListener("pointerup", (event) => {
  const wasDragged = dragged?.moved;
  dragged = null;
  canvas.classList.remove("dragged");
  if (!wasDragged) select(view.operationAt(event.offsetX, event.offsetY), false);
});
canvas.addEventListener("pointerleave", () => {
  view.hovered = -1;
  hideTip();
  redraw();
});
canvas.addEventListener("dblclick", (event) => zoom(3, event.offsetX));
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  hideTip();
  const unit = event.deltaMode === 1 ? 20 : 1;
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    return pan((event.deltaX || event.deltaY) * unit, 0);
  }
  const lanesFit = view.layout.height <= view.lanesHeight;
  if (event.ctrlKey || event.metaKey || lanesFit || event.offsetY < AXIS) {
    return zoom(Math.exp(-event.deltaY * unit * 0.0022), event.offsetX);
  }
  pan(0, event.deltaY * unit);
}, { passive: false });

function moveTo(event) {
  const middle = axis.start + (event.offsetX / overview.clientWidth) * (axis.end - axis.start);
  view.left = middle - (view.width - LABELS) / view.scale / 2;
  view.clamp();
  redraw();
}
overview.addEventListener("pointerdown", (event) => {
  overview.setPointerCapture(event.pointerId);
  moveTo(event);
});
overview.addEventListener("pointermove", (event) => {
  if (event.buttons === 1) moveTo(event);
});

// Keys.

const KEYS = {
  ArrowLeft: () => pan(-120, 0),
  ArrowRight: () => pan(120, 0),
  ArrowUp: () => pan(0, -60),
  ArrowDown: () => pan(0, 60),
  "+": () => zoom(1.4),
  "=": () => zoom(1.4),
  "-": () => zoom(1 / 1.4),
  "[": () => goAlongLane(-1),
  "]": () => goAlongLane(1),
  w: showWitness,
  f: showAll,
  o: () => setEvenly(!axis.evenly),
  p: () => witness.length > 0 && setProofOnly(!view.proofOnly),
  l: () => setOrdered(!view.ordered),
  n: () => goToHit(1),
  N: () => goToHit(-1),
  d: toggleTheme,
  "/": () => at("search").focus(),
  "?": () => at("help").showModal(),
  Escape: () => select(-1),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || at("help").open) return;
  if (event.target === at("search")) {
    if (event.key === "Enter") goToHit(event.shiftKey ? -1 : 1);
    if (event.key === "Escape") canvas.focus();
    return;
  }
  const action = KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

// Buttons and links.

at("to-witness").addEventListener("click", showWitness);
at("fit").addEventListener("click", showAll);
at("zoom-in").addEventListener("click", () => zoom(1.6));
at("zoom-out").addEventListener("click", () => zoom(1 / 1.6));
if (isTimed) at("evenly").addEventListener("change", (event) => setEvenly(event.target.checked));
else at("evenly").parentElement.remove();
at("proof-lanes").addEventListener("change", (event) => setProofOnly(event.target.checked));
at("ordered").addEventListener("change", (event) => setOrdered(event.target.checked));
at("search").addEventListener("input", startSearch);
at("previous").addEventListener("click", () => goToHit(-1));
at("next").addEventListener("click", () => goToHit(1));
at("theme").addEventListener("click", toggleTheme);
at("help-button").addEventListener("click", () => at("help").showModal());
at("close").addEventListener("click", () => select(-1));
for (const link of document.querySelectorAll("a[data-operation]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    select(Number(link.dataset.operation));
  });
}

/** `#operation=7` and `#line=42` lead to an operation. */
function followAddress() {
  const [, name, number] = location.hash.match(/^#(operation|line)=(\d+)$/) ?? [];
  if (!name) return;
  const operation = name === "line" ? find(`line:${number}`)[0] : Number(number);
  if (operation < operations.count) select(operation);
}
addEventListener("hashchange", followAddress);

new ResizeObserver(() => {
  if (!fitCanvases()) return;
  view.clamp();
  // A canvas of another size is empty, and would stay so for a frame.
  draw();
}).observe(at("picture"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  readColours();
  redraw();
});

/** Where what matters is too small to be seen in real time, events get a step each. */
function chooseAxis() {
  const some = witness.length > 0 ? witness : [...Array(Math.min(operations.count, 200)).keys()];
  if (witness.length > 0) view.showWitness();
  else view.showAll();
  const widths = some.map((one) => (axis.endOf(one) - axis.beginOf(one)) * view.scale).sort((a, b) => a - b);
  const telling = witness.length > 0 ? widths[0] : widths[widths.length >> 1];
  if (operations.count < 5000 && telling < 12) setEvenly(true);
}

/** In the list of the proof, too, long transactions say what matters of them. */
function tellKeys() {
  for (const link of document.querySelectorAll("#witness a")) {
    const operation = Number(link.dataset.operation);
    const code = link.querySelector("code");
    const { argument, result, outcome } = operations;
    const place = outcome[operation] === OK ? result[operation] : argument[operation];
    if (telling(operation, place) !== shown(place)) code.textContent = label(operation);
  }
}

function begin() {
  readColours();
  at("to-witness").hidden = at("proof-lanes").parentElement.hidden = witness.length === 0;
  at("ordered").parentElement.hidden = !order;
  if (order) at("order-name").textContent = order.name;
  tellFound();
  fitCanvases();
  chooseAxis();
  if (witness.length > 0) showWitness();
  else showAll();
  for (const operation of packed.named.slice(0, 1)) view.reveal(operation);
  tellKeys();
  followAddress();
  draw();
}
begin();
