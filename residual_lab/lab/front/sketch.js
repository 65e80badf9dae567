// Small axes on which a guess is drawn and a result is shown: places at even distances along x, a number along y.

import {node, shape, setAttr} from "./dom.js";
import {ticksOf, scaleOf, tick} from "./numbers.js";

const PAD = { top: 12, right: 14, bottom: 46, left: 58 };
const WIDEST = 660;

/** `domain` is [low, high]. `start(redraw)` lays it out; `redraw` draws in `layer` with `x(place)` and `y(value)`, again at each new width. */
export class Sketch {
  constructor({ x, xLabel, yLabel, domain, log, height = 270 }) {
    Object.assign(this, { places: x, xLabel, yLabel, domain, log, height });
    this.axes = shape("g", { "aria-hidden": "true" });
    this.layer = shape("g");
    this.svg = shape("svg", { class: "rl-sketch", height }, this.axes, this.layer);
    this.el = node("div", { class: "rl-sketch-box" }, this.svg);
    this.observer = new ResizeObserver(() => this.fit());
  }

  start(redraw) {
    this.redraw = redraw;
    this.fit();
    this.observer.observe(this.el);
  }

  dispose() {
    this.observer.disconnect();
  }

  fit() {
    const width = Math.max(240, Math.min(WIDEST, this.el.clientWidth || WIDEST));
    if (width === this.width) return;
    this.width = width;
    setAttr(this.svg, "width", width);
    setAttr(this.svg, "viewBox", `0 0 ${width} ${this.height}`);
    const inner = width - PAD.left - PAD.right;
    this.step = inner / this.places.length;
    this.x = (place) => PAD.left + (place + 0.5) * this.step;
    this.y = scaleOf(this.domain, [this.height - PAD.bottom, PAD.top], this.log);
    this.drawAxes();
    this.redraw();
  }

  drawAxes() {
    const [left, right, foot] = [PAD.left, this.width - PAD.right, this.height - PAD.bottom];
    const word = (x, y, text, attrs = {}) => shape("text", { x, y, ...attrs }, text);
    this.axes.replaceChildren(
      ...ticksOf(this.domain, this.log).flatMap(({ value }) => [
        shape("line", { class: "rl-grid", x1: left, x2: right, y1: this.y(value), y2: this.y(value) }),
        word(left - 7, this.y(value) + 4, tick(value), { "text-anchor": "end" }),
      ]),
      shape("line", { class: "rl-axis", x1: left, x2: right, y1: foot, y2: foot }),
      ...this.places.map((text, i) => word(this.x(i), foot + 17, text, { "text-anchor": "middle" })),
      word((left + right) / 2, this.height - 8, this.xLabel, { "text-anchor": "middle", class: "rl-axis-name" }),
      word(0, 0, this.yLabel, {
        "text-anchor": "middle",
        class: "rl-axis-name",
        transform: `translate(13 ${(PAD.top + foot) / 2}) rotate(-90)`,
      }),
    );
  }

  /** The place and value under the pointer, within the axes. */
  under(event) {
    const box = this.svg.getBoundingClientRect();
    const across = ((event.clientX - box.left) * this.width) / box.width;
    const down = ((event.clientY - box.top) * this.height) / box.height;
    const place = Math.floor((across - PAD.left) / this.step);
    const foot = this.height - PAD.bottom;
    const share = (foot - down) / (foot - PAD.top);
    return { place: Math.max(0, Math.min(this.places.length - 1, place)), value: valueAt(this.domain, share, this.log) };
  }

  /** A line through the values, broken where one is missing. */
  line(values, attrs) {
    let path = "";
    values.forEach((value, i) => {
      const known = isKnown(value);
      if (known) path += `${i > 0 && isKnown(values[i - 1]) ? "L" : "M"}${this.x(i)} ${this.y(value)}`;
    });
    return shape("path", { d: path, fill: "none", ...attrs });
  }

  /** The area between two lines of values. */
  band(low, high, attrs) {
    const there = low.map((_, i) => i).filter((i) => isKnown(low[i]) && isKnown(high[i]));
    const edge = [...there.map((i) => [i, high[i]]), ...there.reverse().map((i) => [i, low[i]])];
    return shape("path", { d: edge.map(([i, v], n) => `${n ? "L" : "M"}${this.x(i)} ${this.y(v)}`).join("") + "Z", ...attrs });
  }
}

function isKnown(value) {
  return value !== null && value !== undefined;
}

/** How far along an axis a value lies, 0 to 1, and back. */
export function shareOf([low, high], value, log) {
  return log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
}

export function valueAt([low, high], share, log) {
  const t = Math.max(0, Math.min(1, share));
  const value = log ? low * (high / low) ** t : low + (high - low) * t;
  const fine = log ? Number(value.toPrecision(2)) : roundTo(value, (high - low) / 200);
  return Math.max(low, Math.min(high, fine));
}

/** Rounded to a power of ten at or below the step. */
function roundTo(value, step) {
  const digits = Math.max(0, -Math.floor(Math.log10(step)));
  return Number(value.toFixed(Math.min(12, digits)));
}
