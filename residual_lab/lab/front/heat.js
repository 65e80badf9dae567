// Heat maps: a matrix as colours of one sequential, colour-blind-safe ramp; a diverged cell is hatched.
// A cell that is null has diverged; a missing cell (a short row) has not been computed yet, and so has, while the run goes on,
// a row without a single number.

import {shape, freshId} from "./dom.js";
import {num, tick, DIVERGED, Extent} from "./numbers.js";
import {Plot, textWidth, pinNumber, tableOf} from "./plot.js";

const RAMP = ["#def5e5", "#a0dfb9", "#54c9ad", "#38aaac", "#348ba6", "#366da0", "#3e5095", "#423879", "#35264c"];
const CELL = 34;
const PINNED_CELL = 22;

function rgb(hex) {
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
}

/** Colour of t in [0, 1] and the ink that can be read on it. */
export function rampColour(t) {
  const place = Math.min(0.9999, Math.max(0, t)) * (RAMP.length - 1);
  const [a, b] = [rgb(RAMP[Math.floor(place)]), rgb(RAMP[Math.floor(place) + 1])];
  const mixed = a.map((v, k) => Math.round(v + (b[k] - v) * (place % 1)));
  const [r, g, blue] = mixed.map((v) => ((v / 255 + 0.055) / 1.055) ** 2.4);
  return { fill: `rgb(${mixed.join(",")})`, ink: 0.2126 * r + 0.7152 * g + 0.0722 * blue > 0.19 ? "#10202a" : "#ffffff" };
}

export class HeatMap extends Plot {
  constructor(panel, fixedWidth = 0) {
    super(panel, 120, fixedWidth);
    this.addLogSwitch();
    this.hatch = freshId("hatch");
    this.ramp = freshId("ramp");
    const lines = shape("pattern", { id: this.hatch, width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
      shape("rect", { class: "rl-hatch-ground", width: 7, height: 7 }), shape("rect", { class: "rl-hatch-line", width: 2, height: 7 }));
    const gradient = shape("linearGradient", { id: this.ramp }, ...RAMP.map((colour, i) => shape("stop", { offset: i / (RAMP.length - 1), "stop-color": colour })));
    this.canvas.prepend(shape("defs", {}, lines, gradient));
  }

  matrixOf(run) {
    const matrix = run?.matrices[this.panel.key];
    if (!matrix || run.done) return matrix ?? null;
    return { ...matrix, z: matrix.z.map((row) => (row.every((v) => v === null) ? [] : row)) };
  }

  /** The newest map; before the first one of a run, nothing. Pinned maps follow below. */
  maps() {
    const pinned = this.view.pins.map((pin, k) => ({ name: `${pinNumber(k)} 고정`, matrix: this.matrixOf(pin) }));
    return [{ name: "", matrix: this.matrixOf(this.view.run) }, ...pinned].filter((map) => map.matrix);
  }

  place() {}

  paint() {
    const maps = this.maps();
    const extent = new Extent();
    for (const { matrix } of maps) for (const row of matrix.z) for (const v of row) extent.add(v);
    this.blocks = [];
    if (!maps.length) {
      this.body.replaceChildren();
      this.height = 120;
      this.canvas.setAttribute("height", this.height);
      this.axes({ x: null, y: null, xLabel: this.panel.x, yLabel: this.panel.y });
      this.setCaption("");
      return;
    }
    const low = this.log && extent.positive < Infinity ? extent.positive : extent.min;
    const of = this.log ? Math.log : (v) => v;
    const span = of(extent.max) - of(low);
    this.shade = (v) => (span > 0 ? (of(Math.max(v, low)) - of(low)) / span : 0.5);
    const parts = [];
    let top = 22;
    for (const map of maps) top = this.paintMap(map, top, parts) + 14;
    this.grid.removeAttribute("d");
    this.texts.replaceChildren();
    this.axesKey = null;
    this.paintRamp(low, extent.max, top, parts);
    this.height = top + 40;
    this.canvas.setAttribute("height", this.height);
    this.body.replaceChildren(...parts);
    const lost = maps[0].matrix.z.flat().filter((v) => v === null).length;
    this.setCaption(lost ? `빗금은 ${DIVERGED}한 칸입니다 (${lost}칸).` : "");
  }

  paintMap({ name, matrix }, top, parts) {
    const { xs, ys, z } = matrix;
    const left = Math.min(this.width * 0.35, 14 + Math.max(...ys.map((y) => textWidth(String(y)))));
    const width = (this.width - left - 2) / xs.length;
    const label = (x, y, anchor, content, kind = "rl-tick") => parts.push(shape("text", { x, y, "text-anchor": anchor, class: kind }, String(content)));
    label(0, top - 10, "start", name ? `${name} — ${this.panel.y}` : this.panel.y, "rl-axis");
    const cell = name ? PINNED_CELL : CELL;
    const every = Math.ceil((Math.max(...xs.map((x) => textWidth(String(x)))) + 6) / width);
    ys.forEach((y, r) => {
      label(left - 7, top + r * cell + cell / 2 + 4, "end", y);
      xs.forEach((x, c) => this.paintCell(z[r]?.[c], { left: left + c * width, top: top + r * cell, width, tall: cell, r, c, name, matrix }, parts));
    });
    const bottom = top + ys.length * cell;
    xs.forEach((x, c) => c % every === 0 && label(left + (c + 0.5) * width, bottom + 16, "middle", x));
    if (name) return bottom + 34;
    label(left + (this.width - left) / 2, bottom + 34, "middle", this.panel.x, "rl-axis");
    return bottom + 44;
  }

  paintCell(value, cell, parts) {
    const missing = value === undefined;
    const { fill, ink } = missing ? { fill: "none" } : value === null ? { fill: `url(#${this.hatch})` } : rampColour(this.shade(value));
    const [x, y, width, height] = [cell.left + 0.5, cell.top + 0.5, Math.max(1, cell.width - 1), cell.tall - 1];
    parts.push(shape("rect", { class: "rl-cell", x, y, width, height, rx: 2, fill }));
    const text = missing ? "" : num(value);
    if (text && textWidth(text, 11.5) + 6 < width) {
      const middle = { x: x + width / 2, y: y + height / 2 + 4, "text-anchor": "middle" };
      if (value === null) parts.push(shape("text", { ...middle, class: "rl-cell-text rl-cell-lost" }, text));
      else parts.push(shape("text", { ...middle, class: "rl-cell-text", fill: ink }, text));
    }
    this.blocks.push({ ...cell, x, y, height, text: missing ? "아직 계산하지 않았습니다" : text });
  }

  paintRamp(low, high, top, parts) {
    const width = Math.min(220, this.width - 100);
    const left = (this.width - width) / 2;
    parts.push(shape("rect", { x: left, y: top, width, height: 10, rx: 2, fill: `url(#${this.ramp})`, class: "rl-cell" }));
    const label = (x, anchor, content) => parts.push(shape("text", { x, y: top + 10, "text-anchor": anchor, class: "rl-tick" }, content));
    label(left - 6, "end", tick(Number(low.toPrecision(3))));
    label(left + width + 6, "start", tick(Number(high.toPrecision(3))));
    parts.push(shape("text", { x: this.width / 2, y: top + 27, "text-anchor": "middle", class: "rl-axis" }, `${this.panel.z}${this.log ? " (로그 눈금)" : ""}`));
  }

  // ---- reading values: the stops are the cells, row by row

  stops() {
    return this.blocks?.length ?? 0;
  }

  stopNear(px, py) {
    let best = 0;
    let near = Infinity;
    this.blocks.forEach((b, i) => {
      const away = Math.hypot(Math.max(b.x - px, 0, px - b.x - b.width), Math.max(b.y - py, 0, py - b.y - b.height));
      if (away < near) [best, near] = [i, away];
    });
    return best;
  }

  move(i, key) {
    const columns = this.blocks[i].matrix.xs.length;
    if (key === "ArrowUp") return i >= columns ? i - columns : i;
    if (key === "ArrowDown") return i + columns < this.blocks.length ? i + columns : i;
    return super.move(i, key);
  }

  readout(stop) {
    const { r, c, name, matrix, text, ...block } = this.blocks[stop];
    const { x, y, width, height } = block;
    return {
      at: [x + width / 2, y],
      title: `${name ? `${name}: ` : ""}${this.panel.y} ${matrix.ys[r]}, ${this.panel.x} ${matrix.xs[c]}`,
      rows: [{ mark: null, label: this.panel.z, value: text }],
      marks: [shape("rect", { class: "rl-cursor-cell", x: x - 0.5, y: y - 0.5, width: width + 1, height: height + 1, rx: 3 })],
    };
  }

  table() {
    const map = this.maps()[0];
    if (!map) return tableOf([[this.panel.y], ["아직 값이 없습니다"]]);
    const { xs, ys, z } = map.matrix;
    const cell = (v) => (v === undefined ? "" : num(v));
    return tableOf([[`${this.panel.y} \\ ${this.panel.x}`, ...xs], ...ys.map((y, r) => [y, ...xs.map((_, c) => cell(z[r]?.[c]))])]);
  }
}
