"use strict";
// What the pages of `check --html` show, as their scripts draw it.

const assert = require("node:assert");
const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { after, test } = require("node:test");
const { open } = require("./browser.js");

const COMMAND = process.env.ETCD_RECIPES;
const HISTORIES = path.join(__dirname, "../../histories");
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "pages."));
after(() => fs.rmSync(folder, { recursive: true }));

/** The page of a history, made by the command. */
function pageOf(history, ...size) {
  const page = path.join(folder, `${path.basename(history)}.html`);
  try {
    execFileSync(COMMAND, ["check", "--html", page, history], { stdio: "pipe" });
  } catch (error) {
    // 1: a violation, 2: undecided, or no page.
    assert.ok(fs.existsSync(page), String(error.stderr));
  }
  return open(page, ...size);
}

const recorded = (name, ...size) => pageOf(path.join(HISTORIES, `${name}.jsonl`), ...size);

/** The page of a history of these events. */
function written(name, model, events, ...size) {
  const header = {
    format: "etcd-recipes-history", version: 1, workload: "test", model, parameters: {},
    source: { kind: "other", description: "test" },
  };
  const file = path.join(folder, `${name}.jsonl`);
  fs.writeFileSync(file, [header, ...events].map((line) => `${JSON.stringify(line)}\n`).join(""));
  return pageOf(file, ...size);
}

/** Each of many clients writes a value of its own; then one reads the first of all. */
function staleRead(clients) {
  const events = [];
  const add = (process, type, f, value) =>
    events.push({ time: 1000 * events.length, process, client: process, type, f, value });
  for (let client = 0; client < clients; client++) {
    add(client, "invoke", "write", client);
    add(client, "ok", "write", client);
  }
  add(clients >> 1, "invoke", "read", null);
  add(clients >> 1, "ok", "read", 0);
  return events;
}

/** Whether all of the proof stands in the picture. */
function showsTheProof({ run }) {
  return run(`witness.every((operation) => {
    const [top, bottom] = extent(operation);
    const isBeside = view.x(axis.beginOf(operation)) >= LABELS && view.x(axis.endOf(operation)) <= view.width;
    const isSeen = top >= view.top && bottom <= view.top + view.lanesHeight;
    return isBeside && isSeen && lanes[operations.lane[operation]].height > 0;
  })`);
}

const isProofOnly = ({ run, at }) => {
  assert.strictEqual(run("view.proofOnly"), Boolean(at("proof-lanes").checked));
  return run("view.proofOnly");
};

test("a page whose proof is far apart begins with the lanes of the proof only", () => {
  const page = written("many", "register", staleRead(60));
  assert.ok(page.run("witness.length") >= 3);
  assert.ok(isProofOnly(page) && showsTheProof(page));
  // The reader undoes it, and comes back.
  page.run("setProofOnly(false)");
  assert.ok(!isProofOnly(page) && !showsTheProof(page));
  page.at("to-witness").listeners.click();
  assert.ok(isProofOnly(page) && showsTheProof(page));
});

test("a page whose proof fits into the view shows the other lanes, too", () => {
  const page = written("few", "register", staleRead(6));
  assert.ok(!isProofOnly(page) && showsTheProof(page));
  // Near each other, below many others.
  const near = written("near", "register", [
    ...staleRead(60).slice(0, -2),
    ...staleRead(60).slice(-2).map((event) => ({ ...event, process: 59, client: 59, value: event.value && 57 })),
  ]);
  near.run("setProofOnly(false)");
  near.at("to-witness").listeners.click();
  assert.ok(showsTheProof(near));
});

test("where the proof has more lanes than there is room for, words give way to bars", () => {
  const page = written("low", "register", staleRead(60), 1200, 22 + 75);
  assert.ok(isProofOnly(page) && showsTheProof(page));
});

/** Names of bands, which are all that is written in this colour beside the axis. */
const bandNames = ({ drawn }) => drawn().texts.filter(({ colour, y }) => colour === "--faint" && y > 22);

test("labels end where the picture does", () => {
  const names = new Set();
  for (const name of ["election/go-campaign", "reliable-queue/reliable-lost-return"]) {
    for (const width of [700, 1000, 1300]) {
      const page = recorded(name, width);
      for (const { text, x, width: long } of bandNames(page)) {
        assert.ok(x >= 104 && x + long <= width, `${text} at ${x} of ${width}`);
        names.add(text);
      }
    }
  }
  // They are not cut: there is room on the left.
  for (const name of ["the lease has expired", "everything had to be finished"]) assert.ok(names.has(name), name);
  assert.ok(![...names].some((name) => name.startsWith("everything") && name.endsWith("…")));
});

test("names of what lies behind the bars stand where it begins, on nothing else", () => {
  for (const name of ["mutex/mutex-unfenced", "rwlock/rwlock-reader-ignores-writers", "reliable-queue/reliable-lost-return"]) {
    const page = recorded(name);
    const drawn = page.drawn();
    const names = bandNames(page);
    assert.ok(names.length > 2, `${name}: ${names.map(({ text }) => text)}`);
    // No two on each other.
    for (const [index, one] of names.entries()) {
      for (const other of names.slice(index + 1)) {
        const isApart = one.x + one.width <= other.x || other.x + other.width <= one.x || Math.abs(one.y - other.y) >= 11;
        assert.ok(isApart, `${name}: ${one.text}, ${other.text}`);
      }
    }
    const starts = page.run("[...bands].map((band) => view.x(axis.ofTime(band.from)))");
    for (const { text, x, width } of names) {
      const isAtStart = starts.some((start) => Math.abs(x - start - 3) < 0.5 || Math.abs(x + width + 3 - start) < 0.5);
      // What began before the view stands at its edge.
      assert.ok(isAtStart || x < 112, `${name}: ${text} at ${x}`);
    }
    const lines = drawn.steps.indexOf("dashes");
    const foot = page.run("AXIS + view.lanesHeight");
    for (const { text } of names.filter(({ y }) => y < foot)) {
      assert.ok(drawn.steps.indexOf(text) > lines, `${name}: a line crosses ${text} out`);
    }
  }
});

test("a fault on the ground of something that is held leaves both to be seen", () => {
  const page = recorded("mutex/mutex-unfenced");
  const { rects, strokes } = page.drawn();
  const grounds = (colour) => rects.filter((rect) => rect.colour === colour && rect.width > 3 && rect.height > 3);
  assert.ok(grounds("--hold").some(({ opacity }) => opacity > 0.2));
  assert.ok(grounds("--fault").every(({ opacity }) => opacity < 0.1), "they would mix");
  assert.ok(strokes.some(({ colour, opacity }) => colour === "--fault" && opacity >= 0.3), "it is hatched");
});

test("names of what lies behind all lanes stand below these", () => {
  const events = staleRead(15);
  const fault = (type, time, value) => ({ time, process: "nemesis", type: "info", f: type, value });
  const [before, rest] = [events.slice(0, 4), events.slice(4)];
  const page = written("faults", "register", [
    ...before, fault("start-partition", before.at(-1).time, "a from b"), ...rest,
    fault("stop-partition", rest.at(-1).time, null),
  ], 1200, 400);
  page.run("showAll()");
  const below = page.run("AXIS + view.lanesHeight");
  const names = bandNames(page).filter(({ text }) => text.startsWith("start partition"));
  assert.strictEqual(names.length, 1);
  assert.ok(names[0].y >= below && names[0].y + 11 <= 400, `${names[0].y}, below ${below}`);
  assert.ok(page.run("lanesInOrder.at(-1).top + lanesInOrder.at(-1).height - view.layout.height") <= 0);
  assert.ok(page.run("view.clamp(), view.top = 1e9, view.clamp(), AXIS + view.layout.height - view.top") <= below);
});

test("what an undecided verdict is about is framed, and a link", () => {
  const txn = (process, type, value) => ({ time: 0, process, type, f: "txn", value });
  const page = written("undecided", "rw-register", [
    txn(0, "invoke", [["w", "x", 2]]), txn(0, "ok", [["w", "x", 2]]),
    txn(0, "invoke", [["r", "x", null]]), txn(0, "ok", [["r", "x", 3]]),
  ]);
  assert.match(page.page, /Undecided/);
  assert.deepStrictEqual([...page.run("packed.named")], [1]);
  assert.deepStrictEqual(page.links.map(({ dataset }) => dataset.operation), ["1"]);
  const framed = page.drawn().frames.filter(({ colour }) => colour === "--unknown");
  // Whatever stands out is drawn once more, above the others.
  assert.deepStrictEqual([...new Set(framed.map(({ x }) => x + 1))], [page.run("view.x(axis.beginOf(1))")]);
});

test("of long transactions of the proof is told what they did with the keys that matter", () => {
  const txn = (process, type, micros) => ({ time: 0, process, client: process, type, f: "txn", value: micros });
  const others = (from) => Array.from({ length: 6 }, (_, index) => ["w", `other${from + index}`, 1]);
  const [one, two] = [[...others(0), ["r", "x", null], ["w", "y", 1]], [["r", "y", null], ["w", "x", 1], ...others(10)]];
  const page = written("long", "rw-register", [
    txn(0, "invoke", one), txn(1, "invoke", two), txn(0, "ok", one), txn(1, "ok", two),
  ]);
  const labels = [0, 1].map((operation) => page.run(`label(${operation})`));
  assert.deepStrictEqual(labels, [
    "txn \u2192 {r x = absent, w y = 1, \u2026 6 others}",
    "txn \u2192 {r y = absent, w x = 1, \u2026 6 others}",
  ]);
  assert.deepStrictEqual(page.links.filter(({ isInList }) => isInList).map(({ code }) => code.textContent), labels);
  // All of it is there for who asks.
  assert.ok(page.run("shown(operations.result[0])").includes("other3"));
});
