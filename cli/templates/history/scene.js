"use strict";
// Where everything is: along the axis of time, and in which row of which lane.

/**
 * The axis: real time, or one step for each event. Its unit is a nanosecond or a
 * step; `at` places an event, `ofTime` a moment, `ofPoint` a place between events.
 */
const axis = {
  evenly: !isTimed,
  at(event) {
    return this.evenly ? event : times[event];
  },
  ofTime(ns) {
    if (!this.evenly) return ns;
    const after = search(0, times.length, (event) => times[event] > ns);
    if (after === 0) return 0;
    if (after === times.length) return times.length - 0.5;
    const [from, to] = [times[after - 1], times[after]];
    return after - 1 + (from === to ? 0 : (ns - from) / (to - from));
  },
  ofPoint(point) {
    if (this.evenly) return point;
    const event = Math.min(Math.floor(point), times.length - 1);
    const next = Math.min(event + 1, times.length - 1);
    return times[event] + (times[next] - times[event]) * (point - event);
  },
  /** Where the history begins and ends; what is open goes on a little longer. */
  get start() {
    return this.evenly || times.length === 0 ? 0 : times[0];
  },
  get end() {
    if (times.length === 0) return 1;
    const last = this.at(times.length - 1);
    return last + Math.max((last - this.start) * 0.03, this.evenly ? 1 : last === this.start ? 1 : 0);
  },
  beginOf(operation) {
    return this.at(operations.begin[operation]);
  },
  endOf(operation) {
    const end = operations.end[operation];
    return end < 0 ? this.end : this.at(end);
  },
};

/**
 * The lanes, those of the cluster first. A lane has rows; the operations of a row
 * do not overlap, so both their beginnings and their ends are sorted.
 */
const lanes = packed.lanes.map((lane, index) => ({
  index,
  name: lane.name,
  isClient: lane.is_client,
  rows: [],
  bands: [],
  /** The event from which on something may still take effect; -1: none. */
  pendingFrom: -1,
  /** Its operations that prove the violation. */
  proof: [],
  top: 0,
  height: 0,
  /** How far below its top the rows begin: above are the names of its bands, in so many lines. */
  padding: 4,
  nameRows: 1,
}));
const bands = packed.bands;
const lanesInOrder = [
  ...lanes.filter((lane) => !lane.isClient).sort((a, b) => (a.name < b.name ? -1 : 1)),
  ...lanes.filter((lane) => lane.isClient),
];
/** The row of each operation within its lane. */
const rowOf = new Uint16Array(operations.count);

function fillRows() {
  const { lane: laneOf, begin, end, outcome } = operations;
  for (let operation = 0; operation < operations.count; operation++) {
    const lane = lanes[laneOf[operation]];
    const isFree = (row) => row.busyUntil < begin[operation];
    let index = lane.rows.findIndex(isFree);
    if (index < 0) index = lane.rows.push({ operations: [], rare: [], busyUntil: -1 }) - 1;
    const row = lane.rows[index];
    rowOf[operation] = index;
    row.busyUntil = end[operation] < 0 ? Infinity : end[operation];
    row.operations.push(operation);
    if (outcome[operation] !== OK || nameInWitness.has(operation) || named.has(operation)) row.rare.push(operation);
    if (outcome[operation] === INFO && (lane.pendingFrom < 0 || end[operation] < lane.pendingFrom)) {
      lane.pendingFrom = end[operation];
    }
    if (nameInWitness.has(operation)) lane.proof.push(operation);
  }
}
fillRows();

/** The height of the name of a band. */
const BAND_NAME = 12;
const isExpiry = (band) => band.kind === "lease" && band.from === band.to;
/** Instants of which more is said than that they were. */
const isNamedInstant = (band) => band.kind === "deadline" || isExpiry(band);
/** Of a lease only the end is worth a name. */
const isNamed = (band) => isNamedInstant(band) || (band.kind !== "lease" && band.from !== band.to);

const everywhere = [];
for (const band of bands) {
  if (band.lane === null) everywhere.push(band);
  else lanes[band.lane].bands.push(band);
}
everywhere.sort((a, b) => a.from - b.from);
for (const lane of lanes) {
  lane.bands.sort((a, b) => a.from - b.from);
  if (!lane.isClient || lane.bands.length === 0) continue;
  // Bands of two sorts may begin close to each other.
  lane.nameRows = new Set(lane.bands.filter(isNamed).map((band) => band.kind)).size > 1 ? 2 : 1;
  lane.padding = 4 + lane.nameRows * BAND_NAME;
}

/** The height of what is written below the bars of the proof. */
const CAPTION = 14;
/** In how many lines: those that stand close get one each. */
const captionRows = (lane) => Math.min(lane.proof.length, lane.captionsMost);
const CAPTION_ROWS_MOST = 3;
/** Below the lanes: the names of what lies behind all of them. */
const FOOT = everywhere.some(isNamed) ? 18 : 0;

/** Places the visible lanes below each other; the height of all. */
function layOut(height, proofOnly) {
  let layout = layOutWith(CAPTION_ROWS_MOST, height, proofOnly);
  // Better all of the proof with fewer words than a part of it.
  for (let most = CAPTION_ROWS_MOST - 1; proofOnly && most >= 0 && layout.height > height; most--) {
    layout = layOutWith(most, height, proofOnly);
  }
  return layout;
}

function layOutWith(captionsMost, height, proofOnly) {
  const visible = lanesInOrder.filter((lane) => !proofOnly || !lane.isClient || lane.proof.length > 0);
  for (const lane of lanes) [lane.height, lane.captionsMost] = [0, captionsMost];
  const rows = visible.reduce((sum, lane) => sum + Math.max(lane.rows.length, 1), 0);
  const between = visible.reduce((sum, lane) => sum + lane.padding + captionRows(lane) * CAPTION + 5, 0);
  const rowHeight = Math.max(15, Math.min(32, Math.floor((height - between) / Math.max(rows, 1))));
  let top = 0;
  for (const lane of visible) {
    lane.top = top;
    lane.rowHeight = lane.isClient ? rowHeight : 15;
    lane.captionsTop = Math.max(lane.rows.length, 1) * lane.rowHeight + lane.padding;
    lane.height = lane.captionsTop + captionRows(lane) * CAPTION + 5;
    top += lane.height;
  }
  return { visible, height: top };
}

/** The first operation of a row that ends at `from` or later. */
function firstEndingFrom(row, from) {
  return search(0, row.length, (index) => axis.endOf(row[index]) >= from);
}

/** The first operation of a row, from `low` on, that begins at `from` or later; it is mostly near. */
function firstBeginningFrom(row, from, low) {
  const isBehind = (index) => axis.beginOf(row[index]) >= from;
  let step = 1;
  while (low + step < row.length && !isBehind(low + step)) {
    low += step;
    step *= 2;
  }
  return search(low, Math.min(low + step, row.length), isBehind);
}

/**
 * The order in which the operations took effect, each at a point within its bar;
 * null when the history has none. Where the order contradicts the bars, the
 * points behind which no room was left are marked.
 */
const order = packed.order && placeInOrder(packed.order);

function placeInOrder({ name, operations: sequence }) {
  const { begin, end, outcome } = operations;
  // What is of unknown outcome may take effect after its bar.
  const endOf = (operation) => (outcome[operation] === OK ? end[operation] : times.length);
  const points = new Float64Array(sequence.length);
  const late = new Uint8Array(sequence.length);
  const latest = new Float64Array(sequence.length);
  let next = Infinity;
  for (let i = sequence.length - 1; i >= 0; i--) latest[i] = next = Math.min(next, endOf(sequence[i]));
  let earliest = -Infinity;
  for (let i = 0; i < sequence.length; i++) {
    earliest = Math.max(earliest, begin[sequence[i]]);
    late[i] = earliest > endOf(sequence[i]) ? 1 : 0;
    points[i] = earliest > latest[i] ? earliest : (earliest + latest[i]) / 2;
  }
  const place = new Map(sequence.map((operation, index) => [operation, index]));
  return { name, sequence, points, late, place };
}
