"use strict";
// What is said beside the picture: about one operation, and what a search found.

const tip = document.getElementById("tip");
const details = document.getElementById("details");

/** An element with this text. Values of a history only ever become text. */
function element(name, text, className) {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

/** The lane, and the process where that is not its name: verdicts name processes. */
function who(operation) {
  const lane = lanes[operations.lane[operation]].name;
  const process = `process ${operations.process[operation]}`;
  return lane === process ? lane : `${lane}, ${process}`;
}

/** `0.004210 s to 0.009100 s (4.89 ms)`; nothing but whether it ended where there are no times. */
function span(operation) {
  const { begin, end } = operations;
  if (!isTimed) return end[operation] < 0 ? "still open at the end" : "";
  const from = times[begin[operation]];
  if (end[operation] < 0) return `since ${seconds(from)}, still open at the end`;
  const to = times[end[operation]];
  return `${seconds(from)} to ${seconds(to)} (${duration(to - from)})`;
}

function linesOf(operation) {
  const { begin, end } = operations;
  const first = lineOf(begin[operation]);
  const last = end[operation] < 0 ? first : lineOf(end[operation]);
  return last === first ? `line ${first}` : `lines ${first} and ${last}`;
}

/** The tooltip of an operation, or of the bands under a point. */
function showTip(operation, x, y) {
  const lines = operation >= 0 ? operationTip(operation) : bandTip(x, y);
  if (lines.length === 0) return hideTip();
  tip.replaceChildren(...lines);
  tip.hidden = false;
  const left = Math.min(x + 14, view.width - tip.offsetWidth - 8);
  const below = y + overview.clientHeight + 18;
  const isRoom = below + tip.offsetHeight < view.height + overview.clientHeight;
  tip.style.left = `${Math.max(left, 4)}px`;
  tip.style.top = `${isRoom ? below : Math.max(below - tip.offsetHeight - 34, 4)}px`;
}

function hideTip() {
  tip.hidden = true;
}

function operationTip(operation) {
  const { outcome, error, revision } = operations;
  const about = [who(operation), OUTCOMES[outcome[operation]]];
  if (revision[operation] >= 0) about.push(`revision ${revision[operation]}`);
  const lines = [element("div", shortened(label(operation), 600)), element("div", about.join(", "), "faint")];
  if (error[operation] >= 0) lines.push(element("div", shortened(texts[error[operation]], 300)));
  lines.push(element("div", [linesOf(operation), span(operation)].filter(Boolean).join(", "), "faint"));
  return lines;
}

function shortened(text, most) {
  return text.length <= most ? text : `${text.slice(0, most)}… (click for all of it)`;
}

function bandTip(x, y) {
  const at = y - AXIS + view.top;
  const lane = view.layout.visible.find((one) => at >= one.top && at < one.top + one.height);
  const candidates = [...(lane ? lane.bands : []), ...everywhere];
  const isUnder = (band) => {
    const from = view.x(axis.ofTime(band.from));
    const to = band.to === null ? view.width : view.x(axis.ofTime(band.to));
    return x >= from - 3 && x <= Math.max(to, from + 1) + 3;
  };
  return candidates.filter(isUnder).slice(0, 8).map((band) => {
    const isLong = isTimed && band.to !== band.from;
    const lasted = band.to === null ? "to the end" : isLong ? `for ${duration(band.to - band.from)}` : "";
    const begun = isTimed ? `at ${seconds(band.from)}` : "";
    const text = [band.label, begun, lasted, `line ${band.line}`].filter(Boolean).join(", ");
    return element("div", text);
  });
}

/** Everything that is known about an operation. */
function showDetails(operation) {
  const { argument, result, error, outcome, revision } = operations;
  const list = document.createElement("dl");
  const add = (name, text, className) => list.append(element("dt", name), element("dd", text, className));
  add("outcome", `${OUTCOMES[outcome[operation]]}: ${OUTCOME_MEANS[outcome[operation]]}`);
  if (nameInWitness.has(operation)) add("proof", `${nameInWitness.get(operation)} of those that prove the violation`);
  if (argument[operation] >= 0) addValue(add, "asked for", argument[operation], true);
  if (result[operation] >= 0) addValue(add, outcome[operation] === INFO ? "attempted" : "answer", result[operation]);
  else if (outcome[operation] === OK) add("answer", "null", "value");
  if (error[operation] >= 0) add("error", texts[error[operation]]);
  if (revision[operation] >= 0) add("etcd's revision", String(revision[operation]));
  if (order?.place.has(operation)) add(order.name, `${order.place.get(operation) + 1} of ${order.sequence.length}`);
  if (span(operation) !== "") add("when", span(operation));
  add("who", who(operation));
  add("where in the file", linesOf(operation));
  document.getElementById("facts").replaceChildren(element("h2", texts[operations.f[operation]]), list);
  details.hidden = false;
}

function addValue(add, name, place, isAsked = false) {
  const words = shown(place, isAsked);
  add(name, words, "value");
  if (words !== texts[place]) add(`${name}, as written`, texts[place], "value");
}

/** The operations that fit every word of a query. */
function find(query) {
  const tests = query.toLowerCase().split(/\s+/).filter(Boolean).map(testOf);
  if (tests.length === 0) return [];
  const found = [];
  for (let operation = 0; operation < operations.count; operation++) {
    if (tests.every((test) => test(operation))) found.push(operation);
  }
  return found;
}

function testOf(word) {
  const { begin, end, process, lane, revision, outcome } = operations;
  const [, name, number] = word.match(/^(line|client|process|revision):(\d+)$/) ?? [];
  const wanted = Number(number);
  switch (name) {
    case "line":
      return (one) => lineOf(begin[one]) === wanted || (end[one] >= 0 && lineOf(end[one]) === wanted);
    case "client":
      return (one) => lanes[lane[one]].name === `client ${wanted}`;
    case "process":
      return (one) => process[one] === wanted;
    case "revision":
      return (one) => revision[one] === wanted;
  }
  if (OUTCOMES.includes(word)) {
    const kind = OUTCOMES.indexOf(word);
    return (one) => outcome[one] === kind;
  }
  // Each text once, however many operations have it.
  const fits = texts.map((text) => text.toLowerCase().includes(word));
  const { f, argument, result, error } = operations;
  return (one) => fits[f[one]] || fits[argument[one]] || fits[result[one]] || fits[error[one]];
}
