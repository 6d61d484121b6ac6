"use strict";
// What is seen: which part of the axis and of the lanes, and how far apart.

const canvas = document.getElementById("lanes");
const overview = document.getElementById("overview");
const LABELS = 104;
const AXIS = 22;

const view = {
  /** The place on the axis at the left edge, and pixels per unit. */
  left: 0,
  scale: 1,
  /** How far the lanes are scrolled, in pixels. */
  top: 0,
  width: 0,
  height: 0,
  proofOnly: false,
  ordered: false,
  selected: -1,
  hovered: -1,
  hits: [],
  hit: -1,
  layout: { visible: [], height: 0 },

  x(place) {
    return LABELS + (place - this.left) * this.scale;
  },
  place(x) {
    return this.left + (x - LABELS) / this.scale;
  },
  get right() {
    return this.place(this.width);
  },
  /** How high the part of the picture is in which the lanes are. */
  get lanesHeight() {
    return this.height - AXIS - FOOT;
  },
  get fittingScale() {
    return (this.width - LABELS) / (axis.end - axis.start || 1);
  },

  /** Keeps the view within the history. */
  clamp() {
    const most = axis.evenly ? 400 : Math.max(100, this.fittingScale);
    this.scale = Math.min(Math.max(this.scale, this.fittingScale), most);
    const span = (this.width - LABELS) / this.scale;
    const margin = span * 0.1;
    const last = Math.max(axis.end - span, axis.start);
    const zoomedOut = span >= (axis.end - axis.start) * 0.999;
    this.left = zoomedOut
      ? axis.start
      : Math.min(Math.max(this.left, axis.start - margin), last + margin);
    const lowest = Math.max(0, this.layout.height - this.lanesHeight);
    this.top = Math.min(Math.max(this.top, 0), lowest);
  },

  zoom(factor, x = (this.width + LABELS) / 2) {
    const fixed = this.place(x);
    this.scale *= factor;
    this.clamp();
    this.left = fixed - (x - LABELS) / this.scale;
    this.clamp();
  },

  /** Shows the part of the axis from `from` to `to` with some room around it. */
  frame(from, to, room = 0.12) {
    const span = to - from || (axis.evenly ? 4 : Math.max((axis.end - axis.start) / 1000, 1));
    this.scale = (this.width - LABELS) / (span * (1 + 2 * room));
    this.clamp();
    const middle = (from + to) / 2;
    this.left = middle - (this.width - LABELS) / this.scale / 2;
    this.clamp();
  },

  showAll() {
    this.scale = 0;
    this.left = axis.start;
    this.clamp();
  },

  /** Brings an operation into sight, and makes it large enough to be seen. */
  reveal(operation) {
    const [from, to] = [axis.beginOf(operation), axis.endOf(operation)];
    const size = (to - from) * this.scale;
    const isInSight = this.x(from) >= LABELS && this.x(to) <= this.width;
    if (size < 8 || !isInSight) {
      const around = size < 8 ? Math.max(to - from, 1 / this.scale / 1e3) : (this.width - LABELS) / this.scale / 1.3;
      this.frame((from + to) / 2 - around * 6, (from + to) / 2 + around * 6, 0);
    }
    this.revealLane(operation);
  },

  revealLane(operation) {
    const [top, bottom] = extent(operation);
    if (top < this.top) this.top = top - 8;
    if (bottom + 8 > this.top + this.lanesHeight) this.top = bottom + 8 - this.lanesHeight;
    this.clamp();
  },

  /** Whether the bars of the proof are near enough to each other to be seen together. */
  proofFits() {
    if (witness.some((operation) => lanes[operations.lane[operation]].height === 0)) return false;
    let [top, bottom] = [Infinity, -Infinity];
    for (const [from, to] of witness.map(extent)) [top, bottom] = [Math.min(top, from), Math.max(bottom, to)];
    return bottom - top <= this.lanesHeight;
  },

  /** Shows the operations that prove the violation, all together. */
  showWitness() {
    if (witness.length === 0) return this.showAll();
    let [from, to] = [Infinity, -Infinity];
    for (const operation of witness) {
      from = Math.min(from, axis.beginOf(operation));
      to = Math.max(to, axis.endOf(operation));
    }
    this.frame(from, to);
    // What stands highest is seen in any case.
    const fromBelow = [...witness].sort((one, other) => extent(other)[0] - extent(one)[0]);
    for (const operation of fromBelow) this.revealLane(operation);
  },

  /** The operation under a point of the picture, or -1. */
  operationAt(x, y) {
    if (x < LABELS || y < AXIS || y >= AXIS + this.lanesHeight) return -1;
    const at = y - AXIS + this.top;
    const lane = this.layout.visible.find((one) => at >= one.top && at < one.top + one.height);
    if (!lane) return -1;
    const row = lane.rows[Math.floor((at - lane.top - lane.padding) / lane.rowHeight)];
    if (!row) return -1;
    const slack = 3 / this.scale;
    const place = this.place(x);
    return nearest(row.rare, place, slack) ?? nearest(row.operations, place, slack) ?? -1;
  },
};

/** Where the row of an operation begins and ends, from the top of the lanes on. */
function extent(operation) {
  const lane = lanes[operations.lane[operation]];
  const top = lane.top + lane.padding + rowOf[operation] * lane.rowHeight;
  return [top, top + lane.rowHeight];
}

/** The operation of a row at a place, or within `slack` of it. */
function nearest(row, place, slack) {
  const first = firstEndingFrom(row, place - slack);
  let [found, distance] = [undefined, Infinity];
  for (let i = first; i < row.length && axis.beginOf(row[i]) <= place + slack; i++) {
    const away = Math.max(axis.beginOf(row[i]) - place, place - axis.endOf(row[i]), 0);
    if (away < distance) [found, distance] = [row[i], away];
    if (away === 0) break;
  }
  return found;
}

/** Fits the canvases to the window; true when something changed. */
function fitCanvases() {
  const ratio = window.devicePixelRatio || 1;
  let changed = false;
  for (const one of [canvas, overview]) {
    const [width, height] = [Math.round(one.clientWidth * ratio), Math.round(one.clientHeight * ratio)];
    if (one.width !== width || one.height !== height) {
      [one.width, one.height] = [width, height];
      changed = true;
    }
  }
  [view.width, view.height] = [canvas.clientWidth, canvas.clientHeight];
  view.layout = layOut(view.lanesHeight, view.proofOnly);
  return changed;
}
