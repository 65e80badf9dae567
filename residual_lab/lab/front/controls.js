// One native control for each knob of an experiment. Every control has {el, set(value)} and calls `changed(value)`;
// only values that the knob lists can be chosen.

import {node, freshId, setText} from "./dom.js";
import {tick} from "./numbers.js";

const MOST_RADIOS = 4;

/** How a value of a knob is written: its label, or the number with its unit. */
export function valueText(knob, value) {
  const i = knob.values.indexOf(value);
  if (knob.labels && i >= 0) return knob.labels[i];
  if (typeof value === "boolean") return value ? "켬" : "끔";
  if (typeof value !== "number") return String(value);
  const unit = knob.unit ?? "";
  return `${tick(value)}${/^[a-zA-Z]/.test(unit) ? " " : ""}${unit}`;
}

function field(kind, parts, knob) {
  const help = knob.help ? node("p", { class: "rl-small rl-help", id: freshId("help") }, knob.help) : null;
  if (help) parts.input.setAttribute("aria-describedby", help.id);
  return node("div", { class: `rl-knob rl-knob-${kind}`, "data-knob": knob.name }, ...parts.body, help);
}

function slider(knob, changed) {
  const id = freshId("knob");
  const shown = node("output", { class: "rl-value", for: id });
  const marks = node("datalist", { id: `${id}-marks` }, ...knob.values.map((_, i) => node("option", { value: i })));
  const input = node("input", { id, type: "range", min: 0, max: knob.values.length - 1, step: 1, list: marks.id, input: () => {
    show(knob.values[input.valueAsNumber]);
    changed(knob.values[input.valueAsNumber]);
  } });
  const show = (value) => {
    setText(shown, valueText(knob, value));
    input.setAttribute("aria-valuetext", valueText(knob, value));
    const end = Math.max(1, knob.values.length - 1);
    input.style.setProperty("--rl-part", `${(100 * knob.values.indexOf(value)) / end}%`);
  };
  const head = node("div", { class: "rl-knob-head" }, node("label", { for: id }, knob.label), shown);
  return {
    el: field("slider", { input, body: [head, input, marks] }, knob),
    set: (value) => {
      input.value = knob.values.indexOf(value);
      show(value);
    },
  };
}

function radios(knob, changed) {
  const name = freshId("choice");
  const inputs = knob.values.map((value, i) => node("input", { type: "radio", name, value: i, change: () => changed(value) }));
  const options = node("div", { class: "rl-options" }, ...inputs.map((input, i) => node("label", { class: "rl-option" }, input, node("span", {}, valueText(knob, knob.values[i])))));
  const group = node("fieldset", { class: "rl-fieldset" }, node("legend", {}, knob.label), options);
  return {
    el: field("choice", { input: group, body: [group] }, knob),
    set: (value) => inputs.forEach((input, i) => {
      input.checked = knob.values[i] === value;
    }),
  };
}

function select(knob, changed) {
  const id = freshId("knob");
  const input = node("select", { id, class: "rl-select", change: () => changed(knob.values[input.selectedIndex]) },
    ...knob.values.map((value, i) => node("option", { value: i }, valueText(knob, value))));
  const head = node("div", { class: "rl-knob-head" }, node("label", { for: id }, knob.label));
  return {
    el: field("choice", { input, body: [head, input] }, knob),
    set: (value) => {
      input.selectedIndex = knob.values.indexOf(value);
    },
  };
}

function toggle(knob, changed) {
  const input = node("input", { type: "checkbox", change: () => changed(input.checked) });
  return {
    el: field("toggle", { input, body: [node("label", { class: "rl-check" }, input, knob.label)] }, knob),
    set: (value) => {
      input.checked = value;
    },
  };
}

function seed(knob, changed) {
  const id = freshId("knob");
  const nearest = (wanted) => knob.values.reduce((best, v) => (Math.abs(v - wanted) < Math.abs(best - wanted) ? v : best));
  let now = knob.values[0];
  const choose = (value) => {
    now = value;
    input.value = value;
    changed(value);
  };
  const input = node("input", {
    id, type: "number", class: "rl-number", inputmode: "numeric", step: 1, min: Math.min(...knob.values), max: Math.max(...knob.values),
    change: () => choose(Number.isFinite(input.valueAsNumber) ? nearest(input.valueAsNumber) : now),
  });
  const move = (by) => choose(knob.values[Math.min(knob.values.length - 1, Math.max(0, knob.values.indexOf(now) + by))]);
  const button = (text, label, press) => node("button", { type: "button", class: "rl-button rl-square", "aria-label": label, click: press }, text);
  const renew = () => {
    const others = knob.values.filter((value) => value !== now);
    choose(others[Math.floor(Math.random() * others.length)]);
  };
  const row = node("div", { class: "rl-seed" }, button("−", `${knob.label} 줄이기`, () => move(-1)), input, button("+", `${knob.label} 늘리기`, () => move(1)),
    node("button", { type: "button", class: "rl-button rl-quiet", click: renew }, "새 시드"));
  const head = node("div", { class: "rl-knob-head" }, node("label", { for: id }, knob.label));
  return {
    el: field("seed", { input, body: [head, row] }, knob),
    set: (value) => {
      now = value;
      input.value = value;
    },
  };
}

/** A knob with a single value (a recording often has one seed) is told, not offered. */
function fixed(knob) {
  const shown = node("span", { class: "rl-value" });
  const head = node("div", { class: "rl-knob-head" }, node("span", {}, knob.label), shown);
  return { el: node("div", { class: "rl-knob rl-knob-fixed", "data-knob": knob.name }, head), set: (value) => setText(shown, valueText(knob, value)) };
}

export function createControl(knob, changed) {
  if (knob.values.length === 1) return fixed(knob);
  if (knob.kind === "slider" || knob.kind === "log") return slider(knob, changed);
  if (knob.kind === "toggle") return toggle(knob, changed);
  if (knob.kind === "seed") return seed(knob, changed);
  const letters = knob.values.reduce((sum, value) => sum + valueText(knob, value).length, 0);
  return knob.values.length <= MOST_RADIOS && letters <= 28 ? radios(knob, changed) : select(knob, changed);
}
