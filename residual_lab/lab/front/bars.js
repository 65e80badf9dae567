// Profiles over layers: grouped bars, or lines with markers where a bar would be thinner than it can be seen.

import {shape} from "./dom.js";
import {num, niceDomain, ticksOf, scaleOf, Extent} from "./numbers.js";
import {Plot, PLOT_HEIGHT, marker, swatch, seriesStyle, pinNumber, pinDash, tableOf} from "./plot.js";

const THIN = 2.2; // px

export class BarChart extends Plot {
  constructor(panel, fixedWidth = 0) {
    super(panel, PLOT_HEIGHT, fixedWidth);
    this.addLogSwitch();
    this.addLegend(panel.series);
    this.pinLayer = shape("g");
    this.layers = panel.series.map((_, i) => {
      const layer = { bars: shape("path", { class: "rl-column" }), line: shape("path", { class: "rl-mean" }), marks: shape("path", { class: "rl-marks" }) };
      layer.el = shape("g", { style: seriesStyle(i), class: i % 2 ? "rl-hollow" : null }, layer.bars, layer.line, layer.marks);
      return layer;
    });
    this.body.append(...this.layers.map((layer) => layer.el), this.pinLayer);
  }

  /** A bar, or the line and marker that stand for it where bars are too thin. */
  swatch(i) {
    const picture = swatch(i);
    picture.append(shape("rect", { class: "rl-column", x: 8, y: 1, width: 10, height: 10 }));
    if (i % 2) picture.classList.add("rl-hollow");
    return picture;
  }

  forgetDomain() {
    this.domain = null;
  }

  profileOf(run) {
    const profile = run?.profiles[this.panel.key] ?? {};
    return this.panel.series.flatMap((s, i) => (profile[s.key] ? [{ i, values: profile[s.key] }] : []));
  }

  place(x, y) {
    const { left, right, top, bottom } = this.area;
    this.X = scaleOf(x ?? [0, 1], [left, right], false);
    this.Y = scaleOf(y ?? [0.1, 1], [bottom, top], this.log);
  }

  /** Layers are numbered from 1. The axis only grows while a run goes on or while runs are compared. */
  domains(all) {
    const { run, pins } = this.view;
    const extent = new Extent();
    let count = 0;
    for (const { values } of all) {
      count = Math.max(count, values.length);
      for (const v of values) extent.add(v);
    }
    if (extent.empty || (this.log && extent.positive === Infinity)) return null;
    let [low, high] = [this.log ? extent.low(true) : Math.min(0, extent.min), this.log ? extent.max : Math.max(0, extent.max)];
    if (this.domain && (pins.length || this.domainRun === run?.id)) {
      low = Math.min(low, this.domain[0]);
      high = Math.max(high, this.domain[1]);
    }
    if (!this.domain || this.domainRun !== run?.id || low < this.domain[0] || high > this.domain[1]) {
      this.domain = niceDomain(low, high, this.log);
    }
    this.domainRun = run?.id;
    return { x: [0.5, count + 0.5], y: this.domain };
  }

  paint() {
    const { pins } = this.view;
    const now = this.profileOf(this.view.run);
    const pinned = pins.map((pin) => this.profileOf(pin));
    const domains = this.domains([...now, ...pinned.flat()]);
    const last = domains ? domains.x[1] - 0.5 : 0;
    const xTicks = domains && ticksOf([1, Math.max(2, last)], false, Math.max(2, Math.floor(this.width / 90)))
      .filter((t) => Number.isInteger(t.value) && t.value >= 1 && t.value <= last);
    if (xTicks && xTicks[0]?.value !== 1) xTicks.unshift({ value: 1, text: "1" });
    this.axes({ x: domains?.x, y: domains?.y, xTicks, xLabel: this.panel.x, yLabel: this.panel.y, right: pins.length ? 22 : 12 });
    this.el.classList.toggle("rl-compared", pinned.some((profiles) => profiles.length));
    this.el.classList.toggle("rl-thin", this.slot(0).width < THIN);
    this.layers.forEach((layer, i) => this.paintLayer(layer, i, now));
    this.paintPins(pinned);
    this.setCaption(now.length ? "가장 최근에 잰 값입니다." : "");
  }

  /** Where the bar of series i begins within its layer, and how wide it is, in px. */
  slot(i) {
    const group = (this.X(2) - this.X(1)) * 0.8;
    const width = group / this.layers.length;
    return { offset: -group / 2 + i * width, width };
  }

  paintLayer(layer, i, now) {
    const values = now.find((profile) => profile.i === i)?.values;
    const { offset, width } = this.slot(i);
    const thin = width < THIN;
    layer.bars.setAttribute("d", values && !thin ? this.barPath(values, offset, width) : "");
    layer.line.setAttribute("d", values && thin ? this.linePath(values) : "");
    const every = Math.max(1, Math.round((14 * values?.length) / (this.area.right - this.area.left)));
    const marks = values?.map((v, k) => {
      if (v === null) return marker(5, this.X(k + 1) + (thin ? 0 : offset + width / 2), this.area.top + 5, 3);
      return thin && k % every === 0 ? marker(i, this.X(k + 1), this.Y(v), 2.4) : "";
    });
    layer.marks.setAttribute("d", marks?.join("") ?? "");
  }

  barPath(values, offset, width) {
    const p = (v) => Math.round(v * 10) / 10;
    const base = p(this.log ? this.area.bottom : this.Y(0));
    const gap = Math.min(1, width * 0.12);
    let path = "";
    values.forEach((v, k) => {
      if (v === null) return;
      const x = this.X(k + 1) + offset;
      path += `M${p(x)},${base}V${p(this.Y(v))}H${p(x + width - gap)}V${base}Z`;
    });
    return path;
  }

  linePath(values) {
    let pen = "M";
    return values.map((v, k) => {
      if (v === null) {
        pen = "M";
        return "";
      }
      const point = `${pen}${Math.round(this.X(k + 1) * 10) / 10},${Math.round(this.Y(v) * 10) / 10}`;
      pen = "L";
      return point;
    }).join("");
  }

  paintPins(pinned) {
    const key = JSON.stringify([this.axesKey, this.view.pins.map((pin) => `${pin.id}:${pin.step}`)]);
    if (key === this.pinKey) return;
    this.pinKey = key;
    this.pinLayer.replaceChildren(...pinned.flatMap((profiles, k) => profiles.flatMap(({ i, values }) => {
      const last = values.findLastIndex((v) => v !== null);
      const label = shape("text", { class: "rl-pin-label", x: this.X(last + 1) + 4, y: last < 0 ? 0 : this.Y(values[last]) + 4, style: seriesStyle(i) }, pinNumber(k));
      return [shape("path", { class: "rl-pin", d: this.linePath(values), "stroke-dasharray": pinDash(k), style: seriesStyle(i) }), last < 0 ? null : label];
    })).filter(Boolean));
  }

  // ---- reading values

  stops() {
    return Math.max(0, ...[this.view.run, ...this.view.pins].flatMap((run) => this.profileOf(run).map((p) => p.values.length)));
  }

  stopNear(px) {
    const width = this.X(2) - this.X(1);
    return Math.min(this.stops() - 1, Math.max(0, Math.round((px - this.X(1)) / width)));
  }

  readout(stop) {
    const px = this.X(stop + 1);
    const half = (this.X(2) - this.X(1)) / 2;
    const marks = [shape("rect", { class: "rl-cursor-band", x: px - half, width: 2 * half, y: this.area.top, height: this.area.bottom - this.area.top })];
    const rows = this.profileOf(this.view.run).filter((p) => stop < p.values.length)
      .map(({ i, values }) => ({ mark: this.swatch(i), label: this.panel.series[i].label, value: num(values[stop]) }));
    this.view.pins.forEach((pin, k) => {
      const values = this.profileOf(pin).filter((p) => stop < p.values.length).map((p) => `${this.panel.series[p.i].label} ${num(p.values[stop])}`);
      if (values.length) rows.push({ mark: null, label: `${pinNumber(k)} 고정`, value: values.join(" · ") });
    });
    return { at: [px, 0], title: `${stop + 1}번째 (${this.panel.x})`, rows, marks };
  }

  table() {
    const columns = [this.view.run, ...this.view.pins].flatMap((run, k) => this.profileOf(run).map(({ i, values }) => ({
      head: `${k ? `${pinNumber(k - 1)} ` : ""}${this.panel.series[i].label}`, values,
    })));
    if (!columns.length) return tableOf([[this.panel.x], ["아직 값이 없습니다"]]);
    const rows = Array.from({ length: this.stops() }, (_, k) => [k + 1, ...columns.map((c) => (k < c.values.length ? num(c.values[k]) : ""))]);
    return tableOf([[this.panel.x, ...columns.map((c) => c.head)], ...rows]);
  }
}
