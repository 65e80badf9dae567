// Charts for the lab and for anything else that draws curves.
//
//   const chart = createChart(panel)      panel: {key, kind: "lines" | "bars" | "heat" | "table", title, x, y, scale, series: [{key, label}], …}
//                                         as in a lab's spec; lines may have xmax, the end of the x axis where it is not the run's last step
//   parent.append(chart.el)               follows the width of its parent
//   chart.update({run, pins})             run: {id, step, total, curves, profiles, matrices, tables} or null; pins: a list of the same
//                                         curves: {panel: {series: {x: […], y: [[value per seed] …]}}}; append to x and y in place
//   chart.draw()                          only what has changed; call it through `onNextFrame` when updates come often
//   chart.destroy()
//
// createChart(panel, width) draws at a fixed width, for saving. Colours come from theme.css, the rest of the style from lab.css.

import {node} from "./dom.js";
import {num} from "./numbers.js";
import {LineChart} from "./lines.js";
import {BarChart} from "./bars.js";
import {HeatMap} from "./heat.js";
import {tableOf, pinNumber} from "./plot.js";

/** A table of final numbers; rows of pinned runs follow, marked with their number. */
class TablePanel {
  constructor(panel) {
    this.panel = panel;
    this.title = node("div", { class: "rl-chart-title" }, panel.title);
    this.body = node("div", { class: "rl-scroll", tabindex: 0, role: "region", "aria-label": panel.title });
    this.el = node("div", { class: "rl-chart rl-final", "data-panel": panel.key, "data-kind": "table" }, this.title, this.body);
    this.update({ run: null, pins: [] });
  }

  update(view) {
    this.view = view;
  }

  /** Head and rows as they are shown. */
  rows() {
    const runs = [["", this.view.run], ...this.view.pins.map((pin, k) => [`${pinNumber(k)} `, pin])];
    const rows = runs.flatMap(([mark, run]) => (run?.tables[this.panel.key] ?? []).map((row) =>
      row.map((cell, i) => (i === 0 ? mark : "") + (typeof cell === "string" ? cell : num(cell)))));
    return [this.panel.columns, ...rows];
  }

  draw() {
    const rows = this.rows();
    const key = JSON.stringify(rows);
    if (key === this.key) return;
    this.key = key;
    const empty = ["아직 값이 없습니다", ...this.panel.columns.slice(1).map(() => "")];
    this.body.replaceChildren(tableOf(rows.length > 1 ? rows : [...rows, empty]));
  }

  destroy() {}
}

const KINDS = { lines: LineChart, bars: BarChart, heat: HeatMap, table: TablePanel };

export function createChart(panel, fixedWidth = 0) {
  return new KINDS[panel.kind](panel, fixedWidth);
}

/**
 * Collect any number of requests into one call per displayed frame, and no oftener than every `apart` ms.
 * Returns {request, cancel}.
 */
export function onNextFrame(draw, apart = 0) {
  let asked = 0;
  let last = -Infinity;
  const turn = (now) => {
    if (now - last < apart) {
      asked = requestAnimationFrame(turn);
      return;
    }
    asked = 0;
    last = now;
    draw();
  };
  return {
    request: () => (asked ||= requestAnimationFrame(turn)),
    cancel: () => {
      cancelAnimationFrame(asked);
      asked = 0;
    },
  };
}
