"use strict";
// Draws what is seen, and nothing else: however long the history, a frame costs no
// more than its pixels.

const pen = canvas.getContext("2d");
const overviewPen = overview.getContext("2d");
const MONO = "11px ui-monospace, monospace";
const SANS = "11px system-ui, sans-serif";
/** Narrower bars are drawn this wide. */
const BAR_LEAST = 2;
/** Letters of what is written below the bars of the proof. */
const CAPTION_LONGEST = 80;
/** About the width of a letter of MONO. */
const LETTER = 6.7;
/** The name of a band that has less room is left out; its tooltip has it. */
const NAME_LEAST = 16;

let colours = {};

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["paper", "raised", "line", "ink", "faint", "ok", "ok-ink", "fail", "info", "open", "proof", "fault",
    "mark", "deadline", "leader", "lease", "hold", "order", "hit",
    "unknown"];
  colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

let isDrawing = false;
/** Draws before the next frame, once however often it is asked for. */
function redraw() {
  if (isDrawing) return;
  isDrawing = true;
  requestAnimationFrame(() => {
    isDrawing = false;
    draw();
  });
}

function draw() {
  const ratio = window.devicePixelRatio || 1;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.fillStyle = colours.paper;
  pen.fillRect(0, 0, view.width, view.height);
  pen.save();
  clip(LABELS, AXIS, view.width - LABELS, view.height - AXIS);
  for (const band of everywhere) drawBand(band, AXIS, view.height - AXIS);
  drawBandNames(everywhere, view.height - FOOT + 3, 1);
  clip(LABELS, AXIS, view.width - LABELS, view.lanesHeight);
  drawGround();
  drawWitnessLines();
  for (const lane of visibleLanes()) drawBandNames(lane.bands, yOf(lane) + 2, lane.nameRows);
  for (const lane of visibleLanes()) drawLane(lane);
  for (const operation of [view.hovered, view.selected]) drawMarked(operation);
  for (const lane of visibleLanes()) drawCaptions(lane);
  if (view.ordered && order) drawOrder();
  pen.restore();
  drawAxis();
  drawNames();
  drawOverview(ratio);
}

function clip(x, y, width, height) {
  pen.beginPath();
  pen.rect(x, y, width, height);
  pen.clip();
}

function visibleLanes() {
  const [top, bottom] = [view.top, view.top + view.lanesHeight];
  return view.layout.visible.filter((lane) => lane.top + lane.height > top && lane.top < bottom);
}

const yOf = (lane) => AXIS + lane.top - view.top;

/** What lies behind the bars. */
function drawGround() {
  for (const lane of visibleLanes()) {
    pen.fillStyle = colours.line;
    pen.fillRect(LABELS, Math.round(yOf(lane) + lane.height) - 1, view.width, 1);
  }
  for (const lane of visibleLanes()) {
    for (const band of lane.bands) drawBand(band, yOf(lane) + 1, lane.height - 2);
  }
}

/** How far the lines of a fault's ground are from each other. */
const HATCH = 6;
const BAND_OPACITY = { fault: 0.04, leader: 0.4, hold: 0.22, deadline: 0.16, mark: 0 };

function drawBand(band, y, height) {
  const from = view.x(axis.ofTime(band.from));
  const to = band.to === null ? view.width : view.x(axis.ofTime(band.to));
  if (to < LABELS || from > view.width) return;
  const colour = colours[band.kind] || colours.mark;
  pen.fillStyle = colour;
  const width = Math.max(to - from, 1.5);
  if (band.kind === "lease") {
    // Its end, when it has expired, is an instant of its own.
    if (band.from === band.to) pen.fillRect(from, y, 2, height);
    else pen.fillRect(from, y + height - 4, width, 3);
    return;
  }
  pen.globalAlpha = band.lane === null ? 0.08 : (BAND_OPACITY[band.kind] ?? 0.16);
  pen.fillRect(from, y, width, height);
  if (band.kind === "fault" && band.lane !== null) hatch(from, y, width, height);
  pen.globalAlpha = band.kind === "mark" ? 0.45 : 0.8;
  pen.fillRect(from, y, band.kind === "deadline" ? 2 : 1, height);
  pen.globalAlpha = 1;
}

/** Slanting lines: two grounds on each other would give a colour that the legend does not have. */
function hatch(from, y, width, height) {
  const [start, end] = [Math.max(from, LABELS), Math.min(from + width, view.width)];
  pen.save();
  clip(start, y, end - start, height);
  pen.strokeStyle = colours.fault;
  pen.globalAlpha = 0.3;
  pen.beginPath();
  for (let x = Math.floor((start - height) / HATCH) * HATCH; x < end; x += HATCH) {
    pen.moveTo(x, y + height);
    pen.lineTo(x + height, y);
  }
  pen.stroke();
  pen.restore();
}

/** The names of bands, each where its band begins, in so many rows. */
function drawBandNames(bands, y, rows) {
  pen.font = SANS;
  pen.textBaseline = "top";
  for (const name of placeNames(bands, rows)) {
    const width = pen.measureText(name.text).width;
    const room = name.end - name.start;
    const text = width < room + 1 ? name.text : cut(name.text, room, width / name.text.length);
    drawOver(text, name.start, y + name.row * BAND_NAME, colours.faint);
  }
}

/** Where the names of bands stand that are seen: from `start` to no further than `end`, in a row. */
function placeNames(bands, rows) {
  /** The name that stands last in each row. */
  const last = Array(rows).fill(null);
  const takenIn = (row) => (last[row] ? last[row].end + 6 : LABELS);
  const names = [];
  for (const band of bands.filter(isNamed)) {
    const from = view.x(axis.ofTime(band.from));
    if (from > view.width) break;
    const lasts = band.to === null ? view.width : Math.min(view.x(axis.ofTime(band.to)), view.width);
    if (lasts < LABELS) continue;
    const isInstant = isNamedInstant(band);
    const width = Math.min(pen.measureText(band.label).width, isInstant ? 200 : Infinity);
    let start = Math.max(from + 3, LABELS);
    // Of an instant near the right edge it stands on the left.
    if (isInstant && start + width > view.width) start = Math.max(from - 3 - width, LABELS);
    const end = isInstant ? Math.min(start + width, view.width) : Math.min(start + width, lasts);
    let row = last.findIndex((_, index) => takenIn(index) <= start);
    if (row < 0) row = makeRoom(last, from, start);
    if (row < 0) continue;
    start = Math.max(start, takenIn(row));
    if (end - start < NAME_LEAST) continue;
    last[row] = { text: band.label, start, end, row };
    names.push(last[row]);
  }
  return names;
}

/** The row in which the last name leaves room for one at `start`, if it is cut; -1: none. */
function makeRoom(last, from, start) {
  const left = last.map((name) => start - 6 - name.start);
  const row = left.indexOf(Math.max(...left));
  if (left[row] >= NAME_LEAST) {
    last[row].end = start - 6;
    return row;
  }
  // What began before the view may stand anywhere.
  const ends = last.map((name) => name.end);
  return from < LABELS ? ends.indexOf(Math.min(...ends)) : -1;
}

/** A text on whatever ground: lines that pass behind it would cross letters out. */
function drawOver(text, x, y, colour) {
  pen.strokeStyle = colours.paper;
  pen.lineWidth = 3;
  pen.lineJoin = "round";
  pen.strokeText(text, x, y);
  pen.lineWidth = 1;
  pen.fillStyle = colour;
  pen.fillText(text, x, y);
}

/** As much of a text as there is room for. */
function cut(text, room, letter = LETTER) {
  const letters = Math.floor(room / letter);
  if (letters < 2) return "";
  return text.length <= letters ? text : `${text.slice(0, letters - 1)}…`;
}

function drawLane(lane) {
  const y = yOf(lane) + lane.padding;
  drawPendingLine(lane);
  lane.rows.forEach((row, index) => {
    const top = y + index * lane.rowHeight + 1;
    const height = lane.rowHeight - 3;
    drawBars(row.operations, top, height, true);
    drawBars(row.rare, top, height, false);
  });
}

/** What is of unknown outcome may take effect until the end. */
function drawPendingLine(lane) {
  const y = Math.round(yOf(lane) + lane.height) - 3.5;
  if (lane.pendingFrom < 0) return;
  const from = Math.max(view.x(axis.at(lane.pendingFrom)), LABELS);
  if (from > view.width) return;
  pen.strokeStyle = colours.info;
  pen.setLineDash([2, 4]);
  pen.beginPath();
  pen.moveTo(from, y);
  pen.lineTo(Math.min(view.width, view.x(axis.end)), y);
  pen.stroke();
  pen.setLineDash([]);
}

/**
 * Draws the bars of a row from left to right. Bars that would fall on a pixel that
 * is taken are skipped over by search, and narrow ones that touch are drawn as one,
 * so a row never costs more than its width.
 */
function drawBars(row, y, height, areOften) {
  const right = view.right;
  let index = firstEndingFrom(row, view.left);
  /** Narrow bars that are still to be drawn. */
  let run = null;
  const drawRun = () => {
    if (run) drawNarrow(run.from, run.to, y, height);
    run = null;
  };
  while (index < row.length) {
    const operation = row[index];
    const begin = axis.beginOf(operation);
    if (begin > right) break;
    const from = view.x(begin);
    const width = Math.max(view.x(axis.endOf(operation)) - from, BAR_LEAST);
    index++;
    if (areOften && width < 4) {
      if (run && from > run.to + 0.5) drawRun();
      run = { from: run?.from ?? from, to: from + width };
      index = firstBeginningFrom(row, view.place(from + width), index);
    } else {
      drawRun();
      drawBar(operation, from, y, width, height);
    }
  }
  drawRun();
}

/** Bars too narrow to tell apart. Those that are not ok are drawn once more, by themselves. */
function drawNarrow(from, to, y, height) {
  pen.globalAlpha = witness.length > 0 ? 0.5 : 1;
  pen.fillStyle = colours.ok;
  pen.fillRect(from, y, to - from, height);
  pen.globalAlpha = 1;
}

/** The operation under the mouse, and the one that was chosen, however narrow they are. */
function drawMarked(operation) {
  const lane = lanes[operations.lane[operation]];
  if (!lane || lane.height === 0) return;
  const from = view.x(axis.beginOf(operation));
  const width = Math.max(view.x(axis.endOf(operation)) - from, BAR_LEAST);
  drawBar(operation, from, yOf(lane) + lane.padding + rowOf[operation] * lane.rowHeight + 1, width, lane.rowHeight - 3);
}

/** What the operations of the proof did, where their bars have no room for it. */
function drawCaptions(lane) {
  if (lane.proof.length === 0) return;
  pen.font = MONO;
  pen.textBaseline = "top";
  pen.fillStyle = colours.proof;
  const taken = Array(captionRows(lane)).fill(LABELS);
  for (const operation of lane.proof) {
    const [from, to] = [view.x(axis.beginOf(operation)), view.x(axis.endOf(operation))];
    const text = cut(label(operation), CAPTION_LONGEST * LETTER);
    const isSaid = to - Math.max(from, LABELS) - 22 > text.length * LETTER;
    if (isSaid || to < LABELS || from > view.width) continue;
    const caption = `${nameInWitness.get(operation)} ${text}`;
    const wanted = Math.max(from, LABELS + 4);
    const line = taken.findIndex((end) => end <= wanted);
    const index = line >= 0 ? line : taken.indexOf(Math.min(...taken));
    const length = Math.min(caption.length * LETTER, view.width - LABELS - 8);
    // What would be cut at the right edge stands further left.
    const start = Math.max(Math.min(wanted, view.width - length - 4), taken[index]);
    const shown = cut(caption, view.width - start);
    const y = yOf(lane) + lane.captionsTop + 2 + index * CAPTION;
    // Lines that pass behind it would cross letters out.
    pen.fillStyle = colours.paper;
    pen.globalAlpha = 0.8;
    pen.fillRect(start - 2, y - 1, shown.length * LETTER + 4, CAPTION - 2);
    pen.globalAlpha = 1;
    pen.fillStyle = colours.proof;
    pen.fillText(shown, start, y);
    taken[index] = start + shown.length * LETTER + 10;
  }
}

function drawBar(operation, from, y, width, height) {
  const outcome = operations.outcome[operation];
  const isProof = nameInWitness.has(operation);
  const isFaded = witness.length > 0 && !isProof && operation !== view.selected;
  const start = Math.max(from, LABELS - 4);
  const end = Math.min(from + width, view.width + 4);
  const [top, tall] = outcome === FAIL ? [y + height / 4, height / 2] : [y, height];
  if (isFaded) {
    // What lies behind it would mix with its colour and its label.
    pen.fillStyle = colours.paper;
    pen.fillRect(start, top, end - start, tall);
  }
  pen.globalAlpha = isFaded ? 0.5 : 1;
  pen.fillStyle = colours[OUTCOMES[outcome]];
  pen.fillRect(start, top, end - start, tall);
  if (outcome === OPEN) drawArrow(from + width, y, height);
  if (width > 30) drawLabel(operation, start, end, y, height);
  pen.globalAlpha = 1;
  if (isProof) drawProof(operation, from, y, width, height);
  else if (named.has(operation)) frame(from, y, width, height, colours.unknown);
  if (operation === view.selected || operation === view.hovered || isHit(operation)) {
    pen.strokeStyle = operation === view.selected || operation === view.hovered ? colours.ink : colours.hit;
    pen.lineWidth = 2;
    pen.strokeRect(from - 1, y - 1, width + 2, height + 2);
    pen.lineWidth = 1;
  }
}

/** The open end of an operation that was never answered. */
function drawArrow(x, y, height) {
  pen.beginPath();
  pen.moveTo(x, y);
  pen.lineTo(x + height / 2, y + height / 2);
  pen.lineTo(x, y + height);
  pen.fill();
}

function drawLabel(operation, start, end, y, height) {
  const badge = nameInWitness.has(operation) ? badgeWidth(operation) + 2 : 0;
  pen.font = MONO;
  pen.textBaseline = "middle";
  const isOnColour = operations.outcome[operation] === OK && pen.globalAlpha === 1;
  pen.fillStyle = isOnColour ? colours["ok-ink"] : colours.ink;
  const left = Math.max(start, LABELS) + 4 + badge;
  pen.fillText(cut(label(operation), end - left - 2), left, y + height / 2 + 0.5);
}

/** How wide the name is that a bar of the proof bears. */
const badgeWidth = (operation) => 7 + 7 * nameInWitness.get(operation).length;

function frame(from, y, width, height, colour) {
  pen.strokeStyle = colour;
  pen.lineWidth = 2.5;
  pen.strokeRect(from - 1, y - 1, width + 2, height + 2);
  pen.lineWidth = 1;
}

/** A frame and its name in the proof. */
function drawProof(operation, from, y, width, height) {
  frame(from, y, width, height, colours.proof);
  const badge = badgeWidth(operation);
  const left = width > 30 ? Math.max(from, LABELS) : from - badge - 1;
  pen.fillStyle = colours.proof;
  pen.fillRect(left, y, badge, height);
  pen.fillStyle = "#fff";
  pen.font = `bold ${SANS}`;
  pen.textBaseline = "middle";
  pen.textAlign = "center";
  pen.fillText(nameInWitness.get(operation), left + badge / 2, y + height / 2 + 0.5);
  pen.textAlign = "left";
}

function isHit(operation) {
  return view.hits.length > 0 && hitSet.has(operation);
}
let hitSet = new Set();

/** Where the operations of the proof begin and end, through all lanes. */
function drawWitnessLines() {
  if (witness.length === 0 || witness.length > 8) return;
  pen.strokeStyle = colours.proof;
  pen.globalAlpha = 0.45;
  pen.setLineDash([3, 3]);
  pen.beginPath();
  for (const operation of witness) {
    for (const event of [operations.begin[operation], operations.end[operation]]) {
      if (event < 0) continue;
      const x = Math.round(view.x(axis.at(event))) + 0.5;
      pen.moveTo(x, AXIS);
      pen.lineTo(x, view.height);
    }
  }
  pen.stroke();
  pen.setLineDash([]);
  pen.globalAlpha = 1;
}

/** The order of effects: a point in each bar, joined in that order. */
function drawOrder() {
  const { sequence, points, late } = order;
  const x = (index) => view.x(axis.ofPoint(points[index]));
  const first = search(0, points.length, (index) => x(index) >= LABELS);
  const end = search(first, points.length, (index) => x(index) > view.width);
  const from = Math.max(first - 1, 0);
  const to = Math.min(end + 1, points.length);
  const y = (index) => {
    const lane = lanes[operations.lane[sequence[index]]];
    return yOf(lane) + lane.padding + (rowOf[sequence[index]] + 0.5) * lane.rowHeight;
  };
  const isSeen = (index) => lanes[operations.lane[sequence[index]]].height > 0;
  // More would be a smear.
  const step = Math.max(1, Math.floor((to - from) / 2000));
  pen.strokeStyle = colours.order;
  pen.globalAlpha = 0.5;
  pen.beginPath();
  for (let index = from; index < to; index += step) if (isSeen(index)) pen.lineTo(x(index), y(index));
  pen.stroke();
  pen.globalAlpha = 1;
  pen.font = SANS;
  pen.textBaseline = "bottom";
  pen.textAlign = "center";
  for (let index = from; index < to; index += step) {
    if (!isSeen(index)) continue;
    pen.fillStyle = late[index] ? colours.proof : colours.order;
    pen.beginPath();
    pen.arc(x(index), y(index), late[index] ? 5 : 3.2, 0, 7);
    pen.fill();
    if (to - from < 120) pen.fillText(index + 1, x(index), y(index) - 4);
  }
  pen.textAlign = "left";
}

/** Steps of 1, 2 or 5 that leave room for their names. */
function tickStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least);
}

function drawAxis() {
  pen.fillStyle = colours.raised;
  pen.fillRect(0, 0, view.width, AXIS);
  pen.fillStyle = colours.line;
  pen.fillRect(0, AXIS - 1, view.width, 1);
  pen.font = SANS;
  pen.textBaseline = "middle";
  const step = Math.max(tickStep(90 / view.scale), axis.evenly ? 1 : 0);
  for (let tick = Math.ceil(Math.max(view.left, 0) / step) * step; tick <= view.right; tick += step) {
    const x = view.x(tick);
    if (x < LABELS) continue;
    if (axis.evenly && tick >= times.length) break;
    pen.fillStyle = colours.line;
    pen.fillRect(x, AXIS - 6, 1, 6);
    pen.fillStyle = colours.faint;
    pen.fillText(axis.evenly ? `line ${lineOf(tick)}` : tickName(tick, step), x + 3, AXIS / 2);
  }
  pen.fillStyle = colours.faint;
  pen.fillText(axis.evenly ? "event by event" : "time", 6, AXIS / 2);
}

function tickName(ns, step) {
  const [unit, name] = step >= 1e8 ? [1e9, "s"] : step >= 1e5 ? [1e6, "ms"] : step >= 1e2 ? [1e3, "µs"] : [1, "ns"];
  const digits = Math.max(0, Math.ceil(-Math.log10(step / unit)));
  return `${(ns / unit).toFixed(digits)} ${name}`;
}

/** The names of the lanes, which stay where they are. */
function drawNames() {
  pen.save();
  pen.fillStyle = colours.raised;
  pen.fillRect(0, AXIS, LABELS - 1, view.height);
  pen.fillStyle = colours.line;
  pen.fillRect(LABELS - 1, AXIS, 1, view.height);
  if (FOOT > 0) pen.fillRect(0, view.height - FOOT, view.width, 1);
  clip(0, AXIS, view.width, view.lanesHeight);
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "middle";
  for (const lane of visibleLanes()) {
    pen.fillStyle = lane.proof.length > 0 ? colours.proof : lane.isClient ? colours.ink : colours.faint;
    pen.fillText(lane.name, 8, yOf(lane) + lane.padding + lane.rowHeight / 2);
    pen.fillStyle = colours.line;
    pen.fillRect(0, Math.round(yOf(lane) + lane.height) - 1, LABELS, 1);
  }
  pen.restore();
}

let density = { evenly: null, width: 0, counts: [], most: 1 };

/** How many operations begin at each pixel of the whole history. */
function measureDensity(width) {
  if (density.evenly === axis.evenly && density.width === width) return;
  const counts = new Uint32Array(width + 1);
  const scale = width / (axis.end - axis.start || 1);
  for (let i = 0; i < operations.count; i++) counts[Math.floor((axis.beginOf(i) - axis.start) * scale)]++;
  density = { evenly: axis.evenly, width, counts, most: counts.reduce((a, b) => Math.max(a, b), 1) };
}

function drawOverview(ratio) {
  const [width, height] = [overview.clientWidth, overview.clientHeight];
  const one = overviewPen;
  one.setTransform(ratio, 0, 0, ratio, 0, 0);
  one.fillStyle = colours.raised;
  one.fillRect(0, 0, width, height);
  measureDensity(width);
  const scale = width / (axis.end - axis.start || 1);
  const x = (place) => (place - axis.start) * scale;
  one.fillStyle = colours.fault;
  one.globalAlpha = 0.5;
  for (const band of bands) {
    if (band.kind !== "fault") continue;
    const from = x(axis.ofTime(band.from));
    one.fillRect(from, 0, Math.max(x(axis.ofTime(band.to ?? band.from)) - from, 1), 4);
  }
  one.globalAlpha = 1;
  one.fillStyle = colours.ok;
  for (let i = 0; i < width; i++) {
    const tall = density.counts[i] === 0 ? 0 : 2 + (density.counts[i] / density.most) * (height - 10);
    if (tall > 0) one.fillRect(i, height - tall, 1, tall);
  }
  one.fillStyle = colours.hit;
  for (const hit of view.hits.slice(0, 2000)) one.fillRect(x(axis.beginOf(hit)), 4, 1, height - 4);
  one.fillStyle = colours.proof;
  for (const operation of witness) one.fillRect(x(axis.beginOf(operation)) - 1, 4, 3, height - 4);
  one.strokeStyle = colours.ink;
  const [from, to] = [x(Math.max(view.left, axis.start)), x(Math.min(view.right, axis.end))];
  one.strokeRect(Math.max(from, 0) + 0.5, 0.5, Math.max(to - from - 1, 2), height - 1);
}
