"use strict";
// Just as much of a browser as the scripts of a page need: they run as they are, and what they
// draw is written down.

const fs = require("node:fs");
const vm = require("node:vm");

/** The width of a letter, whatever the font. */
const LETTER = 6;

/** A canvas of which every text, and where it stands, is known afterwards. */
function pen() {
  const drawn = { texts: [], rects: [], frames: [], strokes: [], steps: [] };
  const known = {
    drawn,
    measureText: (text) => ({ width: text.length * LETTER }),
    fillText(text, x, y) {
      text = String(text);
      drawn.texts.push({ text, x, y, width: text.length * LETTER, font: this.font, colour: this.fillStyle });
      drawn.steps.push(text);
    },
    fillRect(x, y, width, height) {
      drawn.rects.push({ x, y, width, height, colour: this.fillStyle, opacity: this.globalAlpha });
    },
    strokeRect(x, y, width, height) {
      drawn.frames.push({ x, y, width, height, colour: this.strokeStyle });
    },
    stroke() {
      drawn.strokes.push({ colour: this.strokeStyle, opacity: this.globalAlpha });
    },
    setLineDash(dash) {
      if (dash.length > 0) drawn.steps.push("dashes");
    },
    forget() {
      for (const all of Object.values(drawn)) all.length = 0;
    },
  };
  const ignored = () => {};
  return new Proxy(known, { get: (target, name) => (name in target ? target[name] : ignored) });
}

function element(width, height) {
  const own = pen();
  const made = {
    clientWidth: width,
    clientHeight: height,
    textContent: "",
    value: "",
    dataset: {},
    style: {},
    children: [],
    listeners: {},
    classList: { add() {}, remove() {}, toggle() {}, contains: () => false },
    getContext: () => own,
    addEventListener: (name, listener) => (made.listeners[name] = listener),
    append: (...children) => made.children.push(...children),
    replaceChildren: (...children) => (made.children = children),
    remove() {},
    focus() {},
    setPointerCapture() {},
    get parentElement() {
      return (made.parent ??= element(0, 0));
    },
  };
  return made;
}

/** Opens a page in a window whose picture has this size. */
function open(path, width = 1200, height = 500) {
  const page = fs.readFileSync(path, "utf8");
  const elements = { lanes: element(width, height), overview: element(width, 36) };
  const at = (id) => (elements[id] ??= element(0, 0));
  at("data").textContent = page.match(/id="data">(.*?)<\/script>/s)[1];
  const list = page.indexOf('id="witness"');
  const links = [...page.matchAll(/<a [^>]*data-operation="(\d+)"/g)].map(({ 1: operation, index }) => {
    const [link, code] = [element(0, 0), element(0, 0)];
    const isInList = list >= 0 && index > list;
    Object.assign(link, { querySelector: () => code, code, isInList });
    link.dataset.operation = operation;
    return link;
  });
  const frames = [];
  const context = vm.createContext({
    document: {
      getElementById: at,
      querySelectorAll: (which) => links.filter(({ isInList }) => isInList || !which.startsWith("#witness")),
      createElement: () => element(0, 0),
      createTextNode: (text) => text,
      addEventListener() {},
      documentElement: element(0, 0),
    },
    window: { devicePixelRatio: 1 },
    location: { hash: "" },
    addEventListener() {},
    matchMedia: () => ({ matches: false, addEventListener() {} }),
    getComputedStyle: () => ({ getPropertyValue: (name) => name }),
    requestAnimationFrame: (frame) => frames.push(frame),
    ResizeObserver: class {
      observe() {}
    },
  });
  for (const [, script] of page.matchAll(/<script>(.*?)<\/script>/gs)) vm.runInContext(script, context);
  const own = elements.lanes.getContext();
  return {
    page,
    at,
    links,
    run: (code) => vm.runInContext(code, context),
    /** What is drawn now. */
    drawn() {
      frames.length = 0;
      own.forget();
      vm.runInContext("draw()", context);
      return own.drawn;
    },
  };
}

module.exports = { open };
