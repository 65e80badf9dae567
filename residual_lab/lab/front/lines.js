// Line charts: the mean over seeds with a band from the smallest to the largest; earlier runs as thin dashed lines.

import {shape} from "./dom.js";
import {num, withRange, tick, DIVERGED, niceDomain, scaleOf, Extent} from "./numbers.js";
import {Plot, PLOT_HEIGHT, marker, swatch, seriesStyle, pinNumber, pinDash, tableOf} from "./plot.js";

const MARKS = 6; // markers along a line
const TABLE_ROWS = 20;

/** Mean, smallest and largest over the seeds of a curve, kept up to date as points are appended. */
export class CurveStats {
  constructor(line) {
    this.line = line;
    this.mean = [];
    this.lo = [];
    this.hi = [];
    this.extent = new Extent();
    this.seeds = 0;
    this.diverged = 0; // seeds that are not finite at the last point
  }

  advance() {
    const { y } = this.line;
    for (let i = this.mean.length; i < y.length; i += 1) {
      let [sum, count, lo, hi] = [0, 0, Infinity, -Infinity];
      for (const v of y[i]) {
        if (v === null) continue;
        sum += v;
        count += 1;
        if (v < lo) lo = v;
        if (v > hi) hi = v;
      }
      this.mean.push(count ? sum / count : null);
      this.lo.push(count ? lo : null);
      this.hi.push(count ? hi : null);
      this.extent.add(count ? lo : null);
      this.extent.add(count ? hi : null);
      this.seeds = y[i].length;
      this.diverged = y[i].length - count;
    }
    return this;
  }

  /** Index of the last point at or before x, −1 if there is none. */
  before(x) {
    const xs = this.line.x;
    let [from, to] = [0, xs.length];
    while (from < to) {
      const mid = (from + to) >> 1;
      if (xs[mid] <= x) from = mid + 1;
      else to = mid;
    }
    return from - 1;
  }

  text(i) {
    return withRange(this.mean[i], this.lo[i], this.hi[i], this.seeds);
  }
}

const STATS = new WeakMap();

export function statsOf(line) {
  if (!STATS.has(line)) STATS.set(line, new CurveStats(line));
  return STATS.get(line).advance();
}

/** Indices to draw: all, or where points are denser than pixels, the first, lowest and highest of each pixel. */
function visible(stats, pixels) {
  const n = stats.mean.length;
  if (n <= 2 * pixels) return null;
  const kept = [];
  for (let b = 0; b < pixels; b += 1) {
    const from = Math.floor((b * n) / pixels);
    const to = Math.floor(((b + 1) * n) / pixels);
    let [low, high] = [from, from];
    for (let i = from; i < to; i += 1) {
      if (stats.mean[i] < stats.mean[low]) low = i;
      if (stats.mean[i] > stats.mean[high]) high = i;
    }
    kept.push(...new Set([from, Math.min(low, high), Math.max(low, high)]));
  }
  if (kept.at(-1) !== n - 1) kept.push(n - 1);
  return kept;
}

/** SVG paths of a curve and its band, extended as points come. A value that is missing breaks both. */
class Trace {
  constructor(stats, X, Y) {
    Object.assign(this, { stats, X, Y, drawn: 0, mean: "", pen: "M", closed: "", over: "", under: "" });
  }

  add(i) {
    const { stats, X, Y } = this;
    if (stats.mean[i] === null) {
      this.pen = "M";
      this.closed = this.band;
      this.over = this.under = "";
      return;
    }
    const x = Math.round(X(stats.line.x[i]) * 10) / 10;
    this.mean += `${this.pen}${x},${Math.round(Y(stats.mean[i]) * 10) / 10}`;
    this.pen = "L";
    if (stats.seeds > 1) {
      this.over += `${this.over ? "L" : "M"}${x},${Math.round(Y(stats.hi[i]) * 10) / 10}`;
      this.under = `L${x},${Math.round(Y(stats.lo[i]) * 10) / 10}${this.under}`;
    }
  }

  extend() {
    for (; this.drawn < this.stats.mean.length; this.drawn += 1) this.add(this.drawn);
    return this;
  }

  get band() {
    return this.over ? `${this.closed}${this.over}${this.under}Z` : this.closed;
  }

  get line() {
    return this.drawn === 1 && this.mean ? `${this.mean}h0.1` : this.mean;
  }
}

export class LineChart extends Plot {
  constructor(panel, fixedWidth = 0) {
    super(panel, PLOT_HEIGHT, fixedWidth);
    this.addLogSwitch();
    this.addLegend(panel.series);
    this.pinLayer = shape("g");
    this.layers = panel.series.map((_, i) => {
      const layer = {
        band: shape("path", { class: "rl-band" }),
        mean: shape("path", { class: "rl-mean" }),
        marks: shape("path", { class: "rl-marks" }),
      };
      layer.el = shape("g", { style: seriesStyle(i) }, layer.band, layer.mean, layer.marks);
      return layer;
    });
    this.body.append(...this.layers.map((layer) => layer.el), this.pinLayer);
  }

  forgetDomain() {
    this.domain = null;
  }

  /** [{series index, stats}] of a run, only series that have points. */
  curvesOf(run) {
    const curves = run?.curves[this.panel.key] ?? {};
    return this.panel.series.flatMap((s, i) => (curves[s.key]?.x.length ? [{ i, stats: statsOf(curves[s.key]) }] : []));
  }

  place(x, y) {
    const { left, right, top, bottom } = this.area;
    this.X = scaleOf(x ?? [0, 1], [left, right], false);
    this.Y = scaleOf(y ?? [0.1, 1], [bottom, top], this.log);
  }

  /** Axes grow with the data and do not shrink while a run goes on or while runs are compared. */
  domains(now, pinned) {
    const { run, pins } = this.view;
    const extent = new Extent();
    for (const { stats } of [...now, ...pinned.flat()]) extent.merge(stats.extent);
    if (extent.empty || (this.log && extent.positive === Infinity)) return null;
    let high = extent.max;
    let low = extent.low(this.log);
    if (this.domain && (pins.length || this.domainRun === run?.id)) {
      if (low >= this.domain[0] && high <= this.domain[1]) [low, high] = [null, null];
      else [low, high] = [Math.min(low, this.domain[0]), Math.max(high, this.domain[1])];
    }
    if (low !== null) this.domain = niceDomain(low, high, this.log);
    this.domainRun = run?.id;
    const xOf = (curves, owner) => {
      const xs = curves.map(({ stats }) => stats.line.x.at(-1));
      const last = Math.max(...xs);
      const gap = owner.step - last;
      const pace = Math.max(...curves.map(({ stats }) => stats.line.x.at(-1) - (stats.line.x.at(-2) ?? 0)));
      return gap >= 0 && gap <= pace ? Math.max(last, owner.total) : last;
    };
    const ends = [now.length ? xOf(now, run) : 0, ...pinned.map((curves, k) => (curves.length ? xOf(curves, pins[k]) : 0))];
    const starts = [...now, ...pinned.flat()].map(({ stats }) => stats.line.x[0]);
    const end = this.panel.xmax ?? Math.max(...ends);
    const start = Math.min(...starts);
    return { x: [start >= 0 && start < end * 0.5 ? 0 : start, end > start ? end : start + 1], y: this.domain };
  }

  paint() {
    const { pins } = this.view;
    const now = this.curvesOf(this.view.run);
    const pinned = pins.map((pin) => this.curvesOf(pin));
    const domains = this.domains(now, pinned);
    const moved = this.axes({ x: domains?.x, y: domains?.y, xLabel: this.panel.x, yLabel: this.panel.y, right: pins.length ? 22 : 12 });
    this.layers.forEach((layer, i) => {
      const curve = now.find((c) => c.i === i);
      if (moved || layer.trace?.stats !== curve?.stats) layer.trace = null;
      this.paintLayer(layer, i, curve?.stats);
    });
    const pinKey = pins.map((pin) => `${pin.id}:${pin.step}`).join();
    if (moved || pinKey !== this.pinKey) {
      this.pinKey = pinKey;
      this.paintPins(pinned);
    }
    this.describe(now);
  }

  paintLayer(layer, i, stats) {
    if (!stats) {
      for (const path of [layer.band, layer.mean, layer.marks]) path.removeAttribute("d");
      return;
    }
    layer.trace = this.trace(stats, layer.trace);
    layer.mean.setAttribute("d", layer.trace.line);
    layer.band.setAttribute("d", layer.trace.band);
    let marks = "";
    const [x0, x1] = [this.area.left, this.area.right];
    const at = (j) => {
      if (j >= 0 && stats.mean[j] !== null) marks += marker(i, this.X(stats.line.x[j]), this.Y(stats.mean[j]));
    };
    const last = stats.mean.length - 1;
    for (let k = 0; k < MARKS; k += 1) {
      const px = x0 + ((x1 - x0) * (k + 0.25 + (0.5 * i) / this.layers.length)) / MARKS;
      const j = stats.before(this.toX(px));
      if (j < last) at(j);
    }
    at(last);
    layer.marks.setAttribute("d", marks);
  }

  /** Where points are denser than pixels they are thinned anew; otherwise an earlier trace is carried on. */
  trace(stats, earlier = null) {
    const kept = visible(stats, Math.floor(this.area.right - this.area.left));
    if (kept === null) return (earlier ?? new Trace(stats, this.X, this.Y)).extend();
    const thinned = new Trace(stats, this.X, this.Y);
    kept.forEach((i) => thinned.add(i));
    return thinned;
  }

  toX(px) {
    const [a, b] = [this.X(0), this.X(1)];
    return (px - a) / (b - a);
  }

  paintPins(pinned) {
    const labels = [];
    const paths = pinned.flatMap((curves, k) => curves.map(({ i, stats }) => {
      const last = stats.mean.findLastIndex((v) => v !== null);
      if (last >= 0) labels.push({ i, k, x: this.X(stats.line.x[last]), y: this.Y(stats.mean[last]) });
      return shape("path", { class: "rl-pin", d: this.trace(stats).line, "stroke-dasharray": pinDash(k), style: seriesStyle(i) });
    }));
    labels.sort((a, b) => a.y - b.y);
    let floor = -Infinity;
    for (const label of labels) {
      label.y = Math.max(label.y, floor + 13);
      floor = label.y;
    }
    const over = Math.max(0, floor - this.area.bottom);
    this.pinLayer.replaceChildren(...paths, ...labels.map(({ i, k, x, y }) =>
      shape("text", { class: "rl-pin-label", x: Math.min(x + 4, this.width - 14), y: y - over + 4, style: seriesStyle(i) }, pinNumber(k))));
  }

  describe(now) {
    const seeds = Math.max(0, ...now.map((c) => c.stats.seeds));
    const lost = now.filter((c) => c.stats.diverged).map((c) => `${this.panel.series[c.i].label} ${c.stats.diverged}개`);
    const spread = seeds > 1 ? `선은 시드 ${seeds}개의 평균, 띠는 최솟값~최댓값입니다.` : seeds === 1 ? "시드 1개의 값입니다." : "";
    this.setCaption(lost.length ? `${spread} ${DIVERGED}한 시드: ${lost.join(", ")} (평균에서 뺐습니다).` : spread);
  }

  // ---- reading values

  /** The curve whose points are the cursor's stops. */
  reference() {
    const curves = [this.view.run, ...this.view.pins].map((run) => this.curvesOf(run)).find((c) => c.length) ?? [];
    return curves.reduce((best, c) => (best && best.line.x.length >= c.stats.line.x.length ? best : c.stats), null);
  }

  stops() {
    return this.reference()?.line.x.length ?? 0;
  }

  stopNear(px) {
    const reference = this.reference();
    const x = this.toX(px);
    const i = reference.before(x);
    const xs = reference.line.x;
    return i + 1 < xs.length && (i < 0 || xs[i + 1] - x < x - xs[i]) ? i + 1 : i;
  }

  readout(stop) {
    const x = this.reference().line.x[stop];
    const px = this.X(x);
    const marks = [shape("path", { class: "rl-cursor-line", d: `M${px},${this.area.top}V${this.area.bottom}` })];
    const rows = this.curvesOf(this.view.run).flatMap(({ i, stats }) => {
      const j = stats.before(x);
      if (j < 0) return [];
      if (stats.mean[j] !== null) {
        marks.push(shape("path", { class: "rl-cursor-dot", d: marker(i, this.X(stats.line.x[j]), this.Y(stats.mean[j]), 4.5), style: seriesStyle(i) }));
      }
      return [{ mark: swatch(i), label: this.panel.series[i].label, value: stats.text(j) }];
    });
    this.view.pins.forEach((pin, k) => {
      const values = this.curvesOf(pin).map(({ i, stats }) => `${this.panel.series[i].label} ${num(stats.mean[stats.before(x)] ?? null)}`);
      if (values.length) rows.push({ mark: null, label: `${pinNumber(k)} 고정`, value: values.join(" · ") });
    });
    return { at: [px, 0], title: `${this.panel.x} ${tick(x)}`, rows, marks };
  }

  table() {
    const curves = this.curvesOf(this.view.run);
    const reference = this.reference();
    if (!reference) return tableOf([[this.panel.x], ["아직 값이 없습니다"]]);
    const n = reference.line.x.length;
    const count = Math.min(n, TABLE_ROWS);
    const stops = Array.from({ length: count }, (_, k) => (count === 1 ? 0 : Math.round((k * (n - 1)) / (count - 1))));
    const pinned = this.view.pins.flatMap((pin, k) => this.curvesOf(pin).map((c) => ({ ...c, k })));
    const head = [this.panel.x, ...curves.map((c) => this.panel.series[c.i].label), ...pinned.map((c) => `${pinNumber(c.k)} ${this.panel.series[c.i].label}`)];
    return tableOf([head, ...stops.map((stop) => {
      const x = reference.line.x[stop];
      return [tick(x), ...[...curves, ...pinned].map(({ stats }) => (stats.before(x) < 0 ? "" : stats.text(stats.before(x))))];
    })]);
  }
}
