"use strict";
// The history, unpacked. The other side is cli/src/report/html/data.rs.

const OUTCOMES = ["ok", "fail", "info", "open"];
const [OK, FAIL, INFO, OPEN] = [0, 1, 2, 3];
const OUTCOME_MEANS = [
  "it happened, between the two moments",
  "it certainly did not happen",
  "nobody knows: it may have happened, or may happen at any later time",
  "its client was still waiting when the history ended",
];

const packed = JSON.parse(document.getElementById("data").textContent);

/** Running sums: undoes the differences in which a column is written. */
function sums(differences) {
  const all = new Float64Array(differences.length);
  let sum = 0;
  for (let i = 0; i < all.length; i++) all[i] = sum += differences[i];
  return all;
}

/** Whether the history says times. If not, they only number its events. */
const isTimed = packed.is_timed;
/** Nanoseconds since the start of the run, for each event. */
const times = sums(packed.times);
const lines = packed.lines.length > 0 ? sums(packed.lines) : null;
/** The line of the file that an event stands on. */
const lineOf = (event) => (lines ? lines[event] : event + 2);

/** The operations in the order of their invocations, a column for each property. */
const operations = {
  count: packed.operations.begin.length,
  lane: Uint32Array.from(packed.operations.lane),
  process: Float64Array.from(packed.operations.process),
  f: Int32Array.from(packed.operations.f),
  argument: Int32Array.from(packed.operations.argument),
  result: Int32Array.from(packed.operations.result),
  error: Int32Array.from(packed.operations.error),
  begin: Int32Array.from(packed.operations.begin),
  end: Int32Array.from(packed.operations.end),
  outcome: Uint8Array.from(packed.operations.outcome),
  revision: Float64Array.from(packed.operations.revision),
};
const texts = packed.texts;
/** Operations that prove the violation, and for each what it is called there. */
const witness = packed.witness;
const nameInWitness = new Map(witness.map((operation, index) => [operation, packed.witness_names[index]]));

/** Operations that an undecided verdict is about. */
const named = new Set(packed.named);
/** What the sentence about a violation names, keys among it. */
const keys = new Set(packed.keys);

/** A value for people: reads and writes, and small objects, in words. */
function shown(place, isAsked = false) {
  if (place < 0) return "";
  return (shownCache[Number(isAsked)][place] ??= inWords(texts[place], isAsked));
}
/** Those of answers, and those of what was asked for. */
const shownCache = [[], []];

function parsed(text) {
  try {
    // Numbers beyond 2^53, such as the ids of leases, would not survive as numbers.
    return JSON.parse(text.replace(/([[:,])(-?\d{16,})(?=[\],}])/g, '$1"$2"'));
  } catch {
    return undefined;
  }
}

function inWords(text, isAsked) {
  if (!/^(\[\[|\{)/.test(text)) return text;
  const value = parsed(text);
  if (value === undefined) return text;
  if (!Array.isArray(value)) return objectInWords(value) ?? text;
  return value.every(isMicro) ? `{${value.map((one) => microInWords(one, isAsked)).join(", ")}}` : text;
}

/** As `shown`; of long transactions of the proof, what they did with the keys that the sentence names. */
function telling(operation, place, isAsked = false) {
  if (!nameInWitness.has(operation) || place < 0 || !texts[place].startsWith("[[")) return shown(place, isAsked);
  const parts = micros(texts[place]) ?? [];
  const matters = ([, key]) => keys.has(typeof key === "string" ? key : JSON.stringify(key));
  const kept = parts.filter(matters);
  const others = parts.length - kept.length;
  if (kept.length === 0 || others < OTHERS_LEAST) return shown(place, isAsked);
  return `{${kept.map((one) => microInWords(one, isAsked)).join(", ")}, \u2026 ${others} others}`;
}
/** Fewer are not worth leaving out. */
const OTHERS_LEAST = 3;

/** The micro-operations of a transaction; null of anything else. */
function micros(text) {
  const value = parsed(text);
  return Array.isArray(value) && value.every(isMicro) ? value : null;
}

function isMicro(one) {
  return Array.isArray(one) && one.length > 2 && ["r", "w", "append"].includes(one[0]);
}

/** `lock="a" token=5`; null for one that has more inside. */
function objectInWords(value) {
  const fields = Object.entries(value);
  if (fields.length === 0 || fields.some(([, one]) => typeof one === "object" && one !== null)) return null;
  if (fields.length === 1) return `${fields[0][0]} ${fieldInWords(fields[0][1])}`;
  return fields.map(([name, one]) => `${name}=${fieldInWords(one)}`).join(" ");
}

/** Ids are shown without quotes: they were none in the history. */
function fieldInWords(one) {
  return typeof one === "string" && /^-?\d{16,}$/.test(one) ? one : JSON.stringify(one);
}

function microInWords([kind, key, value, revision], isAsked) {
  const isNone = value === null || value === undefined;
  if (kind === "w" && isNone) return `delete ${key}`;
  // What is only asked for has not been read yet.
  if (kind === "r" && isNone && isAsked) return `r ${key}`;
  const text = isNone ? "absent" : typeof value === "string" ? value : JSON.stringify(value);
  return `${kind} ${key} = ${text}${kind === "r" && revision && !isNone ? ` @${revision}` : ""}`;
}

/** What an operation did, in a few words. */
function label(operation) {
  const { f, argument, result, outcome } = operations;
  let text = texts[f[operation]];
  // A lock's argument is `lock "a"`; once is enough.
  const name = `${text} `;
  const asked = telling(operation, argument[operation], true);
  const answer = outcome[operation] === OK ? telling(operation, result[operation]) : "";
  // The answer of a transaction repeats what it asked for.
  const isRepeated = asked.startsWith("{") && answer.startsWith("{");
  if (asked !== "" && !isRepeated) text += ` ${withoutStart(asked, name)}`;
  if (outcome[operation] === OK) {
    if (result[operation] >= 0) {
      if (answer !== asked) text += ` → ${answer}`;
      else if (isRepeated) text += ` ${asked}`;
    } else if (text === "dequeue") {
      text += " → (empty)";
    }
  }
  return text;
}

const withoutStart = (text, start) => (text.startsWith(start) ? text.slice(start.length) : text);

/** Nanoseconds as a person reads them. */
function duration(ns) {
  if (ns < 1e3) return `${ns} ns`;
  if (ns < 1e6) return `${trim(ns / 1e3)} µs`;
  if (ns < 1e9) return `${trim(ns / 1e6)} ms`;
  return `${trim(ns / 1e9)} s`;
}
const trim = (number) => String(Number(number.toFixed(3)));
const seconds = (ns) => `${(ns / 1e9).toFixed(packed.is_fine ? 9 : 6)} s`;

/** The first index from `low` at which `isBehind` holds; it must hold from there on. */
function search(low, high, isBehind) {
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBehind(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
