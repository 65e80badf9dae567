// The three ways to write down a prediction. Each part has an element `el`, `read()` → {value} or {missing: "why"},
// `write(value)`, `lock(on)` and `dispose()`.

import {node, shape, setAttr, freshId} from "./dom.js";
import {tick} from "./numbers.js";
import {prose} from "./card.js";
import {Sketch, shareOf, valueAt} from "./sketch.js";

export function guessPart(spec) {
  return { choice: choicePart, number: numberPart, curve: curvePart }[spec.form](spec);
}

function choicePart(spec) {
  const group = freshId("guess");
  const inputs = spec.options.map((option) => node("input", { type: "radio", name: group, value: option }));
  const el = node(
    "div",
    { class: "rl-options" },
    ...spec.options.map((option, i) => node("label", { class: "rl-choice" }, inputs[i], node("span", {}, ...prose(option)))),
  );
  return {
    el,
    read: () => {
      const chosen = inputs.find((input) => input.checked);
      return chosen ? { value: chosen.value } : { missing: "보기를 하나 고르십시오." };
    },
    write: (value) => inputs.forEach((input) => (input.checked = input.value === value)),
    lock: (on) => inputs.forEach((input) => (input.disabled = on)),
    dispose: () => {},
  };
}

const STEPS = 400; // positions of the slider

function numberPart(spec) {
  const domain = [spec.low, spec.high];
  const slider = node("input", { type: "range", min: 0, max: STEPS, value: STEPS / 2, class: "rl-unset", "aria-label": "막대로 고르기" });
  const box = node("input", { type: "number", step: "any", min: spec.low, max: spec.high, "aria-label": spec.unit ? `값 (${spec.unit})` : "값" });
  const tell = () => setAttr(slider, "aria-valuetext", box.value === "" ? "아직 고르지 않음" : `${tick(Number(box.value))} ${spec.unit}`);
  slider.addEventListener("input", () => {
    box.value = valueAt(domain, slider.value / STEPS, spec.log);
    slider.classList.remove("rl-unset");
    tell();
  });
  box.addEventListener("input", () => {
    place();
    tell();
  });
  tell();

  function place() {
    const inside = box.value !== "" && Number(box.value) >= spec.low && Number(box.value) <= spec.high;
    slider.classList.toggle("rl-unset", !inside);
    if (inside) slider.value = Math.round(shareOf(domain, Number(box.value), spec.log) * STEPS);
  }

  const el = node(
    "div",
    { class: "rl-number" },
    node("div", { class: "rl-range" }, slider, node("div", { class: "rl-ends rl-small", "aria-hidden": "true" }, node("span", {}, tick(spec.low)), node("span", {}, tick(spec.high)))),
    node("span", { class: "rl-box" }, box, spec.unit ? node("span", { "aria-hidden": "true" }, spec.unit) : null),
  );
  return {
    el,
    read: () => {
      const value = Number(box.value);
      if (box.value === "") return { missing: "막대를 움직이거나 수를 적으십시오." };
      if (!(value >= spec.low && value <= spec.high)) return { missing: `${tick(spec.low)}에서 ${tick(spec.high)} 사이의 수를 적으십시오.` };
      return { value };
    },
    write: (value) => {
      box.value = value;
      place();
      tell();
    },
    lock: (on) => {
      slider.disabled = on;
      box.disabled = on;
    },
    dispose: () => {},
  };
}

const NUDGE = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5 };

function curvePart(spec) {
  const domain = [spec.low, spec.high];
  const scaled = (value) => (spec.log ? Math.log10(value) : value); // 1e-32 is no number to a screen reader; the text says it
  const values = spec.x.map(() => null);
  let locked = false;
  let last = null; // the point that the pointer placed last, while it is down

  const sketch = new Sketch({ x: spec.x, xLabel: spec.x_label, yLabel: spec.y_label, domain, log: spec.log });
  const path = shape("path", { class: "rl-guess-line", fill: "none" });
  const handles = spec.x.map((place, i) =>
    shape(
      "g",
      {
        class: "rl-handle",
        role: "slider",
        tabindex: 0,
        "aria-label": `${spec.x_label} ${place}`,
        "aria-orientation": "vertical",
        "aria-valuemin": scaled(spec.low),
        "aria-valuemax": scaled(spec.high),
        keydown: (event) => press(event, i),
      },
      shape("circle", { r: 16, class: "rl-target" }),
      shape("circle", { r: 6.5, class: "rl-dot" }),
    ),
  );
  setAttr(sketch.svg, "role", "group");
  setAttr(sketch.svg, "aria-label", `${spec.y_label}: 점 ${spec.x.length}개`);
  sketch.layer.append(path, ...handles);
  sketch.svg.addEventListener("pointerdown", (event) => {
    if (locked || event.button !== 0) return;
    event.preventDefault();
    sketch.svg.setPointerCapture(event.pointerId);
    last = null;
    trace(event);
    handles[last.place].focus({ preventScroll: true });
  });
  sketch.svg.addEventListener("pointermove", (event) => last !== null && trace(event));
  for (const end of ["pointerup", "pointercancel"]) sketch.svg.addEventListener(end, () => (last = null));

  /** Place the point under the pointer, and those that a quick stroke has jumped over. */
  function trace(event) {
    const now = sketch.under(event);
    const from = last ?? now;
    const stride = Math.sign(now.place - from.place);
    for (let i = from.place; i !== now.place; i += stride) {
      const part = (i - from.place) / (now.place - from.place);
      const share = (1 - part) * shareOf(domain, from.value, spec.log) + part * shareOf(domain, now.value, spec.log);
      if (i !== from.place) values[i] = valueAt(domain, share, spec.log);
    }
    values[now.place] = now.value;
    last = now;
    draw();
  }

  function press(event, i) {
    if (locked) return;
    const share = values[i] === null ? 0.5 : shareOf(domain, values[i], spec.log);
    if (event.key in NUDGE) values[i] = valueAt(domain, share + (values[i] === null ? 0 : NUDGE[event.key] / 40), spec.log);
    else if (event.key === "Home") values[i] = spec.low;
    else if (event.key === "End") values[i] = spec.high;
    else return;
    event.preventDefault();
    draw();
  }

  function draw() {
    setAttr(path, "d", sketch.line(values, {}).getAttribute("d"));
    const middle = valueAt(domain, 0.5, spec.log);
    handles.forEach((handle, i) => {
      const value = values[i] ?? middle;
      setAttr(handle, "transform", `translate(${sketch.x(i)} ${sketch.y(value)})`);
      setAttr(handle, "aria-valuenow", scaled(value));
      setAttr(handle, "aria-valuetext", values[i] === null ? "아직 놓지 않음" : tick(value));
      setAttr(handle, "data-unset", values[i] === null ? "" : null);
    });
  }
  sketch.start(draw);

  const help = "그림 위를 누르거나 끌어 점을 놓으십시오. 키보드로는 Tab 키로 점을 고르고 화살표 키로 움직입니다.";
  const how = node("p", { class: "rl-small" }, help);
  return {
    el: node("div", { class: "rl-curve" }, sketch.el, how),
    read: () => {
      const open = spec.x.filter((_, i) => values[i] === null);
      return open.length ? { missing: `아직 놓지 않은 점이 있습니다: ${open.join(", ")}` } : { value: [...values] };
    },
    write: (given) => {
      given.forEach((value, i) => (values[i] = value));
      draw();
    },
    lock: (on) => {
      locked = on;
      how.hidden = on;
      sketch.svg.classList.toggle("rl-locked", on);
      for (const handle of handles) setAttr(handle, "aria-disabled", on ? "true" : null);
    },
    dispose: () => sketch.dispose(),
  };
}
