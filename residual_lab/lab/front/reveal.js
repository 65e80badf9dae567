// The guess beside the result. Each picture is an element with the sentence that says how far off the guess was.

import {node, shape, setAttr} from "./dom.js";
import {tick, DIVERGED} from "./numbers.js";
import {prose} from "./card.js";
import {Sketch} from "./sketch.js";

/** → {el, sentence, dispose}; `guess` is undefined when nothing was predicted. */
export function revealPart(spec, guess) {
  return { choice: choiceResult, number: numberResult, curve: curveResult }[spec.form](spec, guess);
}

function choiceResult(spec, guess) {
  const rows = spec.options.map((option) => {
    const tags = [option === guess ? "내 예측" : null, option === spec.actual ? "결과" : null].filter(Boolean);
    return node(
      "li",
      { class: "rl-choice", "data-state": option === spec.actual ? "good" : option === guess ? "bad" : null },
      node("span", {}, ...prose(option)),
      tags.length ? node("span", { class: "rl-mark" }, tags.join(" · ")) : null,
    );
  });
  const sentence = guess === undefined ? "" : guess === spec.actual ? "예측대로입니다." : "예측과 결과가 다릅니다.";
  return { el: node("ul", { class: "rl-options" }, ...rows), sentence, dispose: () => {} };
}

const round = (value) => tick(Number(value.toPrecision(2)));
const unitOf = (spec) => (/^\w/.test(spec.unit) ? ` ${spec.unit}` : spec.unit);
const within = (guess, actual) => actual.seeds > 1 && guess >= actual.low && guess <= actual.high;

/** "결과의 약 4.1배", "결과의 약 1/23". */
function times(guess, actual) {
  const ratio = guess / actual;
  return ratio >= 1 ? `결과의 약 ${round(ratio)}배` : `결과의 약 1/${round(1 / ratio)}`;
}

function numberSentence(spec, guess) {
  const { actual } = spec;
  const unit = unitOf(spec);
  const said = `예측 ${tick(guess)}${unit}, 결과 ${resultText(actual, unit)}.`;
  if (actual.mean === null) return `예측 ${tick(guess)}${unit}, 결과는 발산입니다.`;
  if (guess === actual.mean) return `${said} 예측과 결과가 같습니다.`;
  if (within(guess, actual)) return `${said} 예측이 시드들의 범위 안에 있습니다.`;
  if (spec.log && actual.mean > 0) return `${said} 예측은 ${times(guess, actual.mean)}입니다.`;
  const gap = `${round(Math.abs(guess - actual.mean))}${spec.unit === "%" ? "%p" : unit}`;
  return `${said} ${gap}만큼 ${guess > actual.mean ? "크게" : "작게"} 보았습니다.`;
}

function resultText(actual, unit) {
  if (actual.mean === null) return DIVERGED;
  if (actual.seeds === 1) return `${tick(actual.mean)}${unit}`;
  return `${tick(actual.mean)}${unit}(시드 ${actual.seeds}개, ${tick(actual.low)}~${tick(actual.high)})`;
}

function numberResult(spec, guess) {
  const { actual } = spec;
  const known = [guess, ...actual.runs, actual.mean].filter((value) => typeof value === "number");
  const domain = wide([spec.low, spec.high], known);
  const places = guess === undefined ? ["결과"] : ["내 예측", "결과"];
  const sketch = new Sketch({ x: places, xLabel: "", yLabel: spec.unit, height: 200, domain, log: spec.log });
  sketch.start(() => {
    const at = sketch.x(places.length - 1);
    const half = Math.min(34, sketch.step / 3);
    const bar = (place, value, name) => shape("line", { class: name, x1: place - half, x2: place + half, y1: sketch.y(value), y2: sketch.y(value) });
    sketch.layer.replaceChildren(
      ...(guess === undefined ? [] : [bar(sketch.x(0), guess, "rl-guess-line"), tag(sketch.x(0) + half + 6, sketch.y(guess), tick(guess))]),
      ...actual.runs.filter((run) => run !== null).map((run) => shape("circle", { class: "rl-seed", r: 4, cx: at, cy: sketch.y(run) })),
      ...(actual.mean === null ? [tag(at - 12, 40, DIVERGED)] : [bar(at, actual.mean, "rl-result-line"), tag(at + half + 6, sketch.y(actual.mean), tick(actual.mean))]),
    );
  });
  const sentence = guess === undefined ? `결과 ${resultText(actual, unitOf(spec))}.` : numberSentence(spec, guess);
  return { el: picture(sketch, sentence), sentence, dispose: () => sketch.dispose() };
}

function tag(x, y, text) {
  return shape("text", { class: "rl-value", x, y: y + 4 }, text);
}

function curveSentence(spec, guess) {
  const { mean, low, high, seeds } = spec.actual;
  const asRatio = spec.log && mean.every((value) => value === null || value > 0);
  const misses = spec.x
    .map((place, i) => ({ place, i, off: mean[i] === null ? null : asRatio ? Math.abs(Math.log(guess[i] / mean[i])) : Math.abs(guess[i] - mean[i]) }))
    .filter((miss) => miss.off !== null);
  if (misses.length === 0) return "결과가 모두 발산했습니다.";
  const inside = misses.filter(({ i }) => within(guess[i], { seeds, low: low[i], high: high[i] })).length;
  const average = misses.reduce((sum, miss) => sum + miss.off, 0) / misses.length;
  const worst = misses.reduce((far, miss) => (miss.off > far.off ? miss : far));
  const size = asRatio ? `평균 ${round(Math.exp(average))}배` : `평균 ${round(average)}만큼`;
  const hits = inside > 0 ? ` 점 ${spec.x.length}개 가운데 ${inside}개는 시드들의 범위 안입니다.` : "";
  return `${size} 빗나갔고, ${spec.x_label} ${worst.place}에서 가장 크게 빗나갔습니다(예측 ${tick(guess[worst.i])}, 결과 ${tick(mean[worst.i])}).${hits}`;
}

function curveResult(spec, guess) {
  const { mean, low, high, seeds } = spec.actual;
  const known = [...(guess ?? []), ...low, ...high].filter((value) => value !== null);
  const domain = wide([spec.low, spec.high], known);
  const sketch = new Sketch({ x: spec.x, xLabel: spec.x_label, yLabel: spec.y_label, domain, log: spec.log });
  sketch.start(() => {
    const dots = (values, attrs) => values.map((value, i) => (value === null ? null : shape("circle", { cx: sketch.x(i), cy: sketch.y(value), ...attrs })));
    sketch.layer.replaceChildren(
      ...[
        seeds > 1 ? sketch.band(low, high, { class: "rl-result-band" }) : null,
        sketch.line(mean, { class: "rl-result-line" }),
        ...dots(mean, { class: "rl-result-dot", r: 4.5 }),
        ...(guess ? [sketch.line(guess, { class: "rl-guess-line" }), ...dots(guess, { class: "rl-dot", r: 5 })] : []),
      ].filter(Boolean),
    );
  });
  const sentence = guess === undefined ? "" : curveSentence(spec, guess);
  const el = node("div", {}, legend(guess !== undefined, seeds), picture(sketch, sentence || spec.question), table(spec, guess));
  return { el, sentence, dispose: () => sketch.dispose() };
}

function spreadText(mean, low, high) {
  if (mean === null) return DIVERGED;
  return low === high ? tick(mean) : `${tick(mean)} (${tick(low)}~${tick(high)})`;
}

function legend(guessed, seeds) {
  const key = (name, text) =>
    node("li", {}, shape("svg", { width: 30, height: 12, "aria-hidden": "true" }, shape("line", { class: name, x1: 1, x2: 29, y1: 6, y2: 6 })), text);
  const result = seeds > 1 ? `결과 (시드 ${seeds}개의 평균과 범위)` : "결과";
  return node("ul", { class: "rl-legend rl-small" }, guessed ? key("rl-guess-line", "내 예측") : null, key("rl-result-line", result));
}

function table(spec, guess) {
  const { mean, low, high } = spec.actual;
  const head = [spec.x_label, ...(guess ? ["내 예측"] : []), "결과"].map((text) => node("th", { scope: "col" }, text));
  const rows = spec.x.map((place, i) =>
    node(
      "tr",
      {},
      node("th", { scope: "row" }, place),
      ...(guess ? [node("td", {}, tick(guess[i]))] : []),
      node("td", {}, spreadText(mean[i], low[i], high[i])),
    ),
  );
  return node("details", { class: "rl-small" }, node("summary", {}, "표로 보기"), node("table", {}, node("thead", {}, node("tr", {}, ...head)), node("tbody", {}, ...rows)));
}

function picture(sketch, description) {
  setAttr(sketch.svg, "role", "img");
  setAttr(sketch.svg, "aria-label", description);
  return sketch.el;
}

/** The axis of the question, widened where something lies outside it. */
function wide([low, high], values) {
  return [Math.min(low, ...values), Math.max(high, ...values)];
}
