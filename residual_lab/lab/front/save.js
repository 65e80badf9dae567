// Taking results and settings away: CSV, a link, the code of a notebook cell.

import {DIVERGED} from "./numbers.js";
import {settingsText} from "./words.js";
import {pinNumber} from "./plot.js";

const BOM = "\ufeff";

function csvLine(cells) {
  return cells.map((cell) => {
    const text = cell === null || cell === undefined ? "" : String(cell);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }).join(",");
}

/** Seeds of a run: the seed knob is the first of them. Without such a knob they are counted from 0. */
function seedOf(spec, run, i) {
  const knob = spec.knobs.find((k) => k.kind === "seed");
  return (knob ? run.values[knob.name] : 0) + i;
}

function shownRuns(client) {
  const pins = client.pins.map((pin, k) => [`고정 ${pinNumber(k)}`, pin]);
  return client.run === null ? pins : [["이번 실행", client.run], ...pins];
}

/** Everything that is shown as UTF-8 CSV: settings first, then one row per panel, series, step and seed. */
export function csvOf(client) {
  const { spec } = client;
  const runs = shownRuns(client);
  const lines = [["랩", spec.title], ["id", spec.id]];
  for (const [name, run] of runs) {
    lines.push([`설정 (${name})`, settingsText(spec, run.values)]);
    lines.push([`진행 (${name})`, `${run.step}/${run.total}`]);
  }
  lines.push([], ["실행", "패널", "계열", "가로축", "가로 값", "시드", "값"]);
  const add = (...cells) => lines.push(cells);
  for (const [name, run] of runs) {
    for (const panel of spec.panels) {
      const label = (key) => panel.series.find((s) => s.key === key)?.label ?? key;
      if (panel.kind === "lines") {
        for (const [key, { x, y }] of Object.entries(run.curves[panel.key] ?? {})) {
          x.forEach((step, i) => y[i].forEach((v, s) => add(name, panel.title, label(key), panel.x, step, seedOf(spec, run, s), v ?? DIVERGED)));
        }
      } else if (panel.kind === "bars") {
        for (const [key, values] of Object.entries(run.profiles[panel.key] ?? {})) {
          values.forEach((v, i) => add(name, panel.title, label(key), panel.x, i + 1, "", v ?? DIVERGED));
        }
      } else if (panel.kind === "heat") {
        const { xs = [], ys = [], z = [] } = run.matrices[panel.key] ?? {};
        ys.forEach((rowName, r) => xs.forEach((x, c) => z[r]?.[c] !== undefined && add(name, panel.title, `${panel.y} ${rowName}`, panel.x, x, "", z[r][c] ?? DIVERGED)));
      } else {
        for (const row of run.tables[panel.key] ?? []) {
          row.slice(1).forEach((v, i) => add(name, panel.title, row[0], panel.columns[i + 1], "", "", v ?? DIVERGED));
        }
      }
    }
  }
  return BOM + lines.map(csvLine).join("\r\n") + "\r\n";
}

/** Address of this page with the settings in it. */
export function linkOf(spec, values, address = location.href) {
  const hash = new URLSearchParams([["lab", spec.id], ...spec.knobs.map((k) => [k.name, String(values[k.name])])]);
  return `${address.split("#")[0]}#${hash}`;
}

/** Settings that such an address carries for this lab; what the knobs do not offer is left out. */
export function valuesFromHash(spec, hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  if (given.get("lab") !== spec.id) return null;
  const found = {};
  for (const knob of spec.knobs) {
    const value = knob.values.find((v) => String(v) === given.get(knob.name));
    if (value !== undefined) found[knob.name] = value;
  }
  return found;
}

function pythonLiteral(value) {
  if (typeof value === "boolean") return value ? "True" : "False";
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

/** Text of a notebook cell that makes this lab with these settings. */
export function codeOf(spec, values) {
  const inside = spec.knobs.map((k) => `${k.name}=${pythonLiteral(values[k.name])}`).join(", ");
  return spec.code.replace("{values}", inside);
}

/** File name that says what is inside. */
export function fileName(client, ending) {
  const values = (client.run ?? client).values;
  const parts = client.spec.knobs.slice(0, 4).map((k) => `${k.name}${values[k.name]}`);
  return `${[client.spec.id, ...parts].join("_")}.${ending}`.replace(/[^\w.\-가-힣]/g, "-");
}

export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/** Copy to the clipboard; false where the browser does not let us. */
export async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // not a secure page, or not allowed: the caller shows the text to be copied by hand
  }
}
