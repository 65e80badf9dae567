// What every chart shares: the figure around it, its size, its axes, and a cursor that reads values out.
//
// A chart is one focusable element. The pointer or the arrow keys move a cursor over its stops (points, layers, cells);
// the readout beside the cursor is also the element's aria-valuetext, so a screen reader says it.
// A subclass has: paint(), stops(), readout(i) → {at: [x, y], title, rows: [{mark, label, value}]}, stopNear(x, y);
// it may replace move(i, key) and table().

import {node, shape, setText, setAttr, freshId} from "./dom.js";
import {ticksOf} from "./numbers.js";

export const EMPTY_TEXT = "시작을 누르면 여기에 그려집니다";
export const PLOT_HEIGHT = 230;
const PAGE = { PageUp: 10, PageDown: -10 };

/** Width of a text in a chart, near enough to lay out with. */
export function textWidth(text, size = 12) {
  let width = 0;
  for (const c of text) width += c > "\u2fff" ? 0.98 : ".,: ".includes(c) ? 0.32 : 0.6;
  return width * size;
}

/** Outline of the marker of series i around (x, y): the second cue beside the colour. */
export function marker(i, x, y, r = 3.2) {
  const p = (v) => Math.round(v * 10) / 10;
  const [l, t, R, b] = [p(x - r), p(y - r), p(x + r), p(y + r)];
  switch (i % 6) {
    case 0: return `M${l},${p(y)}a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0Z`;
    case 1: return `M${l},${t}H${R}V${b}H${l}Z`;
    case 2: return `M${p(x)},${p(y - r * 1.25)}L${p(x + r * 1.15)},${b}H${p(x - r * 1.15)}Z`;
    case 3: return `M${p(x)},${p(y - r * 1.4)}L${p(x + r * 1.4)},${p(y)}L${p(x)},${p(y + r * 1.4)}L${p(x - r * 1.4)},${p(y)}Z`;
    case 4: return `M${p(x)},${p(y + r * 1.25)}L${p(x + r * 1.15)},${t}H${p(x - r * 1.15)}Z`;
    default: return `M${l},${t}L${R},${b}M${R},${t}L${l},${b}`;
  }
}

/** Small picture of a series for legends and readouts. */
export function swatch(i) {
  return shape("svg", { class: "rl-swatch", width: 26, height: 12, viewBox: "0 0 26 12", "aria-hidden": "true", style: seriesStyle(i) },
    shape("path", { class: "rl-mean", d: "M1,6H25" }), shape("path", { class: "rl-marks", d: marker(i, 13, 6) }));
}

/** 10 with a raised exponent; the superscript digits of many Korean fonts are too small to read. */
function power(exponent) {
  return ["10", shape("tspan", { dy: -5, class: "rl-exponent" }, String(exponent).replace("-", "−"))];
}

export function seriesStyle(i) {
  return `--rl-c:var(--rl-s${(i % 6) + 1})`;
}

export function pinNumber(i) {
  return "①②③④⑤"[i];
}

const PIN_DASHES = ["6 4", "2 3", "9 3 2 3", "12 5", "4 2 1 2"];

export function pinDash(i) {
  return PIN_DASHES[i % PIN_DASHES.length];
}

export class Plot {
  /** fixedWidth: draw at this width and follow no resize (for saved pictures). */
  constructor(panel, height, fixedWidth = 0) {
    this.panel = panel;
    this.log = panel.scale === "log";
    this.height = height;
    this.width = fixedWidth;
    this.view = { run: null, pins: [] };
    this.cursor = null;
    this.build();
    if (!fixedWidth) {
      this.observer = new ResizeObserver(() => this.resize(this.plot.clientWidth));
      this.observer.observe(this.plot);
    }
  }

  build() {
    const titleId = freshId("title");
    this.canvas = shape("svg", { class: "rl-svg", "aria-hidden": "true", focusable: "false" });
    this.grid = shape("path", { class: "rl-grid" });
    this.texts = shape("g", { class: "rl-texts" });
    this.body = shape("g");
    this.marks = shape("g", { class: "rl-cursor" });
    this.canvas.append(this.grid, this.body, this.texts, this.marks);
    this.tip = node("div", { class: "rl-tip", hidden: true });
    this.plot = node("div", {
      class: "rl-plot", role: "slider", tabindex: 0, "aria-label": `${this.panel.title}: 화살표 키로 값 읽기`,
      "aria-orientation": "horizontal", "aria-valuemin": 0, "aria-valuemax": 0, "aria-valuenow": 0, "aria-valuetext": "아직 값이 없습니다",
      pointermove: (event) => this.point(event),
      pointerdown: (event) => this.point(event),
      pointerleave: () => this.plot === document.activeElement || this.setCursor(null),
      focus: () => this.plot.matches(":focus-visible") && this.cursor === null && this.setCursor(this.stops() - 1),
      blur: () => this.setCursor(null),
      keydown: (event) => this.key(event),
    }, this.canvas, this.tip);
    this.title = node("div", { class: "rl-chart-title", id: titleId }, this.panel.title);
    this.head = node("div", { class: "rl-chart-head" }, this.title);
    this.caption = node("p", { class: "rl-small rl-caption" });
    this.tableBody = node("div", { class: "rl-scroll", tabindex: 0, role: "region", "aria-label": `${this.panel.title} 표` });
    this.details = node("details", { class: "rl-details", toggle: () => this.fillTable(true) },
      node("summary", {}, "표로 보기", node("span", { class: "rl-sr" }, ` — ${this.panel.title}`)), this.tableBody);
    this.el = node("div", { class: "rl-chart", role: "group", "aria-labelledby": titleId, "data-panel": this.panel.key, "data-kind": this.panel.kind },
      this.head, this.plot, this.caption, this.details);
  }

  /** Add the checkbox that changes between a linear and a logarithmic axis. */
  addLogSwitch() {
    const box = node("input", { type: "checkbox", checked: this.log, change: () => {
      this.log = box.checked;
      this.forgetDomain();
      this.draw();
    } });
    this.head.append(node("label", { class: "rl-check rl-log" }, box, "로그 눈금", node("span", { class: "rl-sr" }, ` — ${this.panel.title}`)));
  }

  addLegend(series) {
    if (series.length < 2 && !series[0]?.label) return;
    this.plot.before(node("ul", { class: "rl-legend", "aria-label": "범례" },
      ...series.map((s, i) => node("li", {}, this.swatch(i), node("span", {}, s.label)))));
  }

  swatch(i) {
    return swatch(i);
  }

  forgetDomain() {}

  update(view) {
    this.view = view;
  }

  resize(width) {
    if (width > 0 && Math.abs(width - this.width) > 0.5) {
      this.width = width;
      this.draw();
    }
  }

  draw() {
    if (!this.width) return;
    setAttr(this.canvas, "width", this.width);
    setAttr(this.canvas, "height", this.height);
    this.paint();
    this.details.hidden = !this.stops();
    const last = Math.max(0, this.stops() - 1);
    setAttr(this.plot, "aria-valuemax", last);
    if (this.cursor !== null) this.setCursor(Math.min(this.cursor, last));
    this.fillTable(false);
  }

  destroy() {
    this.observer?.disconnect();
  }

  // ---- axes

  /** Lay the plot area out and draw grid, ticks and labels; nothing is done when nothing has changed. */
  axes({ x, y, xLog = false, xTicks = null, yTicks = null, xLabel, yLabel, right = 12 }) {
    const key = JSON.stringify([x, y, xTicks, yTicks, xLabel, yLabel, right, this.log, this.width, this.height]);
    if (key === this.axesKey) return false;
    this.axesKey = key;
    const ys = y ? (yTicks ?? ticksOf(y, this.log, Math.floor(this.height / 45))) : [];
    const left = Math.max(30, 12 + Math.max(0, ...ys.map((t) => textWidth(t.text))));
    const area = { left, top: yLabel ? 27 : 8, right: this.width - right, bottom: this.height - (xLabel ? 40 : 24) };
    this.area = area;
    const xs = x ? (xTicks ?? ticksOf(x, xLog, Math.max(2, Math.floor((area.right - left) / 75)))) : [];
    this.place(x, y);
    let grid = "";
    const texts = [];
    const text = (px, py, anchor, content, kind = "rl-tick") =>
      texts.push(shape("text", { x: px, y: py, "text-anchor": anchor, class: kind }, ...[content].flat()));
    for (const t of ys) {
      const py = Math.round(this.Y(t.value)) + 0.5;
      grid += `M${left},${py}H${area.right}`;
      text(left - 6, py + 4, "end", t.power === undefined ? t.text : power(t.power));
    }
    for (const t of xs) {
      const px = Math.round(this.X(t.value)) + 0.5;
      grid += `M${px},${area.bottom}v4`;
      const half = textWidth(t.text) / 2;
      text(Math.min(Math.max(px, half), this.width - half), area.bottom + 17, "middle", t.text);
    }
    grid += `M${left},${area.bottom + 0.5}H${area.right}`;
    if (yLabel) text(0, 12, "start", yLabel, "rl-axis");
    if (xLabel) text((left + area.right) / 2, this.height - 5, "middle", xLabel, "rl-axis");
    if (!x || !y) text((left + area.right) / 2, (area.top + area.bottom) / 2, "middle", EMPTY_TEXT, "rl-empty");
    this.grid.setAttribute("d", grid);
    this.texts.replaceChildren(...texts);
    return true;
  }

  // ---- the cursor

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    this.setCursor(this.stops() ? this.stopNear(event.clientX - box.left, event.clientY - box.top) : null);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      this.setCursor(null);
      return;
    }
    const to = this.stops() ? this.move(this.cursor ?? this.stops() - 1, event.key) : null;
    if (to === null) return;
    event.preventDefault();
    this.setCursor(Math.min(this.stops() - 1, Math.max(0, to)));
  }

  move(i, key) {
    if (key === "ArrowLeft" || key === "ArrowDown") return i - 1;
    if (key === "ArrowRight" || key === "ArrowUp") return i + 1;
    if (key in PAGE) return i + PAGE[key];
    if (key === "Home") return 0;
    return key === "End" ? this.stops() - 1 : null;
  }

  setCursor(i) {
    this.cursor = i === null || i < 0 || !this.stops() ? null : i;
    this.tip.hidden = this.cursor === null;
    if (this.cursor === null) {
      this.marks.replaceChildren();
      return;
    }
    const { at, title, rows, marks } = this.readout(this.cursor);
    this.marks.replaceChildren(...marks);
    this.tip.replaceChildren(node("div", { class: "rl-tip-title" }, title),
      ...rows.map((row) => node("div", { class: "rl-tip-row" }, row.mark, node("span", {}, row.label), node("b", {}, row.value))));
    const flip = at[0] > this.width / 2;
    this.tip.style.left = flip ? "auto" : `${at[0] + 12}px`;
    this.tip.style.right = flip ? `${this.width - at[0] + 12}px` : "auto";
    this.tip.style.maxWidth = `${Math.max(120, (flip ? at[0] : this.width - at[0]) - 12)}px`;
    setAttr(this.plot, "aria-valuenow", this.cursor);
    setAttr(this.plot, "aria-valuetext", [title, ...rows.map((row) => `${row.label} ${row.value}`.trim())].join(", "));
  }

  // ---- the table

  /** The table is made only while it is open, and not on every frame of a run. */
  fillTable(now) {
    if (!this.details.open) return;
    const { run } = this.view;
    if (!now && run !== null && !run.done && performance.now() - (this.tableTime ?? 0) < 1000) return;
    this.tableTime = performance.now();
    this.tableBody.replaceChildren(this.table());
  }

  setCaption(text) {
    setText(this.caption, text);
    this.caption.hidden = !text;
  }
}

/** A plain table from rows of cells; the first row is the head, numbers stand right. */
export function tableOf(rows) {
  const cell = (tag, content, more = {}) => node(tag, more, String(content));
  return node("table", { class: "rl-table" },
    node("thead", {}, node("tr", {}, ...rows[0].map((c) => cell("th", c, { scope: "col" })))),
    node("tbody", {}, ...rows.slice(1).map((row) => node("tr", {}, ...row.map((c, i) =>
      i === 0 ? cell("th", c, { scope: "row" }) : cell("td", c))))));
}
