// The whole lab as one PNG: title, settings, every panel with its legend and caption, on a light ground.

import {node, shape} from "./dom.js";
import {createChart} from "./charts.js";
import {textWidth, pinNumber, pinDash} from "./plot.js";
import {settingsText, progressText} from "./words.js";

const PANEL = 560;
const GAP = 32;
const EDGE = 28;
const SHARPNESS = 2;
const STYLES = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "stroke-linecap", "stroke-linejoin",
  "opacity", "font-family", "font-size", "font-weight", "paint-order", "display"];

/** A copy whose look no longer depends on the page's style sheets. */
function selfContained(original) {
  const copy = original.cloneNode(true);
  const from = [original, ...original.querySelectorAll("*")];
  [copy, ...copy.querySelectorAll("*")].forEach((el, i) => {
    const style = getComputedStyle(from[i]);
    el.setAttribute("style", STYLES.map((name) => `${name}:${style.getPropertyValue(name)}`).join(";"));
  });
  return copy;
}

function wrapped(text, width, size) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
    if (textWidth(longer, size) > width && lines.at(-1)) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines;
}

class Sheet {
  constructor(width) {
    this.width = width;
    this.svg = shape("svg", { xmlns: "http://www.w3.org/2000/svg", class: "rl-svg" });
  }

  /** Write text from y on; returns the y below it. */
  text(content, x, y, width, size, kind) {
    for (const line of wrapped(content, width, size)) {
      y += size * 1.45;
      this.svg.append(shape("text", { x, y: y - size * 0.35, class: kind, style: `font-size:${size}px` }, line));
    }
    return y;
  }

  put(el, x, y) {
    el.setAttribute("x", x);
    el.setAttribute("y", y);
    this.svg.append(el);
  }

  pins(client, y) {
    client.pins.forEach((pin, k) => {
      this.svg.append(shape("path", { class: "rl-pin", d: `M${EDGE},${y + 12}h30`, "stroke-dasharray": pinDash(k), style: "--rl-c:var(--rl-ink)" }));
      y = this.text(`${pinNumber(k)} ${settingsText(client.spec, pin.values)}`, EDGE + 40, y, this.width - 2 * EDGE - 40, 13, "rl-axis");
    });
    return y;
  }

  chart(chart, x, y) {
    y = this.text(chart.panel.title, x, y, PANEL, 16, "rl-sheet-title") + 4;
    if (chart.panel.series?.length) {
      let left = x;
      chart.panel.series.forEach((s, i) => {
        const room = 32 + textWidth(s.label, 13) + 18;
        if (left + room > x + PANEL) {
          left = x;
          y += 20;
        }
        this.svg.append(shape("g", { "data-kind": chart.panel.kind, class: chart.el.className, transform: `translate(${left},${y + 3})` }, chart.swatch(i)));
        this.svg.append(shape("text", { x: left + 32, y: y + 14, class: "rl-sheet-text", style: "font-size:13px" }, s.label));
        left += room;
      });
      y += 26;
    }
    if (!chart.canvas) return this.table(chart.rows(), x, y);
    this.put(chart.canvas, x, y);
    y += chart.height + 2;
    return chart.caption.hidden ? y : this.text(chart.caption.textContent, x, y, PANEL, 12, "rl-axis");
  }

  table(rows, x, y) {
    const column = PANEL / rows[0].length;
    rows.forEach((row, r) => {
      y += 24;
      row.forEach((cell, c) => this.svg.append(shape("text", {
        x: c ? x + (c + 1) * column - 6 : x, y: y - 7, "text-anchor": c ? "end" : "start", class: r ? "rl-sheet-text" : "rl-axis", style: "font-size:13px",
      }, String(cell))));
      this.svg.append(shape("path", { class: "rl-grid", d: `M${x},${y}h${PANEL}` }));
    });
    return y;
  }
}

/** `isLog(panel key)` says which axis the learner has chosen for a chart. */
export async function pictureOf(client, isLog) {
  const { spec, run, pins } = client;
  const columns = spec.panels.length > 1 ? 2 : 1;
  const width = 2 * EDGE + columns * PANEL + (columns - 1) * GAP;
  const sheet = new Sheet(width);
  const stage = node("div", { class: "residual-lab rl-lab rl-stage", "data-rl-theme": "light", "aria-hidden": "true" }, sheet.svg);
  document.body.append(stage);
  const charts = spec.panels.map((panel) => createChart(panel, PANEL));
  try {
    for (const chart of charts) {
      stage.append(chart.el);
      if ("log" in chart) chart.log = isLog(chart.panel.key);
      chart.update({ run, pins });
      chart.draw();
    }
    let y = sheet.text(spec.title, EDGE, EDGE - 6, width - 2 * EDGE, 22, "rl-sheet-title");
    y = sheet.text(settingsText(spec, (run ?? client).values), EDGE, y + 2, width - 2 * EDGE, 14, "rl-axis");
    const where = client.recorded ? "기록한 실제 학습" : "";
    const line = [where, progressText(client)].filter(Boolean).join(" · ");
    if (line) y = sheet.text(line, EDGE, y, width - 2 * EDGE, 13, "rl-axis");
    y = sheet.pins(client, y + 4) + 14;
    const bottoms = Array(columns).fill(y);
    charts.forEach((chart) => {
      const c = bottoms.indexOf(Math.min(...bottoms));
      bottoms[c] = sheet.chart(chart, EDGE + c * (PANEL + GAP), bottoms[c]) + 22;
    });
    const height = Math.ceil(Math.max(...bottoms) + EDGE - 22);
    sheet.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    sheet.svg.setAttribute("width", width * SHARPNESS);
    sheet.svg.setAttribute("height", height * SHARPNESS);
    return await rasterized(selfContained(sheet.svg), width * SHARPNESS, height * SHARPNESS);
  } finally {
    charts.forEach((chart) => chart.destroy());
    stage.remove();
  }
}

async function rasterized(svg, width, height) {
  const url = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(svg)], { type: "image/svg+xml" }));
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = node("canvas", { width, height });
    const paper = canvas.getContext("2d");
    paper.fillStyle = "#ffffff";
    paper.fillRect(0, 0, width, height);
    paper.drawImage(image, 0, 0, width, height);
    return await new Promise((resolve, reject) =>
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("empty picture"))), "image/png"));
  } finally {
    URL.revokeObjectURL(url);
  }
}
