// Predict, then observe: a card to write a guess down (예측), and one to see it beside the result (확인).

import {node, setText} from "./dom.js";
import {card, prose, liveLine, Keeper, showTrouble} from "./card.js";
import {hearInSpite} from "./hearing.js";
import {guessPart} from "./guess.js";
import {revealPart} from "./reveal.js";
import {tick} from "./numbers.js";

function render({ model, el }) {
  const spec = model.get("spec");
  return spec.actual === undefined ? guessCard(spec, model, el) : checkCard(spec, model, el);
}

/** Whether a kept guess still fits the question; the site's shelf does not ask the kernel. */
function fits(spec, value) {
  if (spec.form === "choice") return spec.options.includes(value);
  const inside = (v) => typeof v === "number" && v >= spec.low && v <= spec.high;
  if (spec.form === "number") return inside(value);
  return Array.isArray(value) && value.length === spec.x.length && value.every(inside);
}

function inWords(spec, value) {
  if (spec.form === "choice") return value;
  if (spec.form === "number") return `${tick(value)} ${spec.unit}`.trim();
  return spec.x.map((place, i) => `${place}: ${tick(value[i])}`).join(", ");
}

function troubleLine() {
  return node("p", { class: "rl-notice", role: "status", "data-tone": "warn", hidden: true });
}

function guessCard(spec, model, el) {
  const root = card("predict", `예측하기: ${spec.question}`);
  const keeper = new Keeper(model, show);
  const part = guessPart(spec);
  const status = liveLine();
  const trouble = troubleLine();
  const commit = node("button", { type: "button", class: "rl-button rl-primary", click: press }, "적어 두기");
  const again = node("button", { type: "button", class: "rl-button rl-quiet", hidden: true, click: reopen }, "다시 적기");
  const earlier = node("details", { class: "rl-small", hidden: true });
  let kept = []; // the guesses that fit, oldest first
  let open = true;

  root.append(
    node("p", { class: "rl-kind" }, "예측하기"),
    node("fieldset", {}, node("legend", {}, ...prose(spec.question)), part.el),
    node("div", { class: "rl-row" }, commit, status, again),
    earlier,
    trouble,
  );
  el.append(root);
  keeper.hello();

  function press() {
    const { value, missing } = part.read();
    if (missing) setText(status, missing);
    else keeper.commit(value);
  }

  function reopen() {
    setOpen(true);
    setText(status, "예측을 바꾼 뒤 적어 두십시오. 전의 예측도 남습니다.");
    commit.focus();
  }

  function setOpen(on) {
    const held = root.contains(document.activeElement);
    open = on;
    part.lock(!on);
    commit.hidden = !on;
    again.hidden = on;
    if (held && !on) again.focus({ preventScroll: true });
  }

  function show() {
    const before = kept.at(-1);
    kept = keeper.history.filter((entry) => fits(spec, entry.value));
    const last = kept.at(-1);
    if (last && last.at !== before?.at) {
      part.write(last.value);
      setOpen(false);
      setText(status, "적어 두었습니다. 실험을 실행한 뒤 확인하기에서 견줍니다.");
    }
    earlier.hidden = kept.length < 2;
    const list = kept.slice(0, -1).map((entry) => node("li", {}, inWords(spec, entry.value)));
    earlier.replaceChildren(node("summary", {}, `전에 적은 예측 ${list.length}개`), node("ol", {}, ...list));
    showTrouble(trouble, keeper);
  }

  return () => {
    keeper.dispose();
    part.dispose();
    root.remove();
  };
}

const NO_GUESS = "적어 둔 예측이 없어 결과만 보여 드립니다. 다음에는 실행하기 전에 적어 보십시오. 틀린 예측도 좋은 출발점입니다.";

function checkCard(spec, model, el) {
  const root = card("predict", `확인하기: ${spec.question}`);
  const keeper = new Keeper(model, show);
  const button = node("button", { type: "button", class: "rl-button rl-primary", click: press }, "확인하기");
  const body = node("div", { class: "rl-result" });
  const verdict = node("p", { class: "rl-verdict", role: "status" });
  const trouble = troubleLine();
  let asked = false;
  let part = null;

  root.append(
    node("p", { class: "rl-kind" }, "확인하기"),
    node("p", { class: "rl-question" }, ...prose(spec.question)),
    verdict,
    body,
    node("div", { class: "rl-row" }, button),
    trouble,
  );
  el.append(root);

  function press() {
    asked = true;
    keeper.hello();
  }

  function show() {
    showTrouble(trouble, keeper);
    if (!asked || !keeper.known) return;
    asked = false;
    const guess = keeper.history.map((entry) => entry.value).filter((value) => fits(spec, value)).at(-1);
    part?.dispose();
    part = revealPart(spec, guess);
    body.replaceChildren(part.el, node("p", {}, ...prose(spec.text)));
    setText(verdict, [guess === undefined ? NO_GUESS : null, part.sentence].filter(Boolean).join(" "));
    setText(button, "다시 확인하기");
    button.classList.remove("rl-primary");
  }

  return () => {
    keeper.dispose();
    part?.dispose();
    root.remove();
  };
}

export default { initialize: ({ model }) => hearInSpite(model), render };
