// Self-check questions: choose, 답 확인, read why. Every choice has its explanation; every try is kept.

import {node, setText, setAttr, freshId} from "./dom.js";
import {card, prose, liveLine, Keeper, showTrouble} from "./card.js";
import {hearInSpite} from "./hearing.js";

function render({ model, el }) {
  const spec = model.get("spec");
  const root = card("quiz", spec.title);
  const score = liveLine({ class: "rl-note" });
  const trouble = node("p", { class: "rl-notice", role: "status", "data-tone": "warn", hidden: true });
  const keeper = new Keeper(model, show);
  const questions = spec.questions.map((question, i) => questionPart(question, i, (choice) => keeper.commit({ question: question.id, choice })));
  root.append(node("div", { class: "rl-head" }, node("p", { class: "rl-title" }, spec.title), score), ...questions.map((part) => part.el), trouble);
  el.append(root);
  keeper.hello();
  show();

  function show() {
    for (const part of questions) {
      part.show(keeper.history.map((entry) => entry.value).filter((value) => value.question === part.id).map((value) => value.choice));
    }
    setText(score, scoreLine(questions));
    showTrouble(trouble, keeper);
  }

  return () => {
    keeper.dispose();
    root.remove();
  };
}

function scoreLine(questions) {
  const solved = questions.filter((part) => part.solved()).length;
  const first = questions.filter((part) => part.solvedAtOnce()).length;
  if (!questions.some((part) => part.tried())) return `문제 ${questions.length}개. 틀려도 괜찮습니다. 보기마다 설명이 있습니다.`;
  return `${questions.length}문제 가운데 ${solved}문제를 맞혔습니다(첫 시도에 ${first}문제).`;
}

/** One question. `show(tries)` draws it from the texts of the choices tried so far; choices that no longer exist are ignored. */
function questionPart(question, index, answer) {
  const group = freshId("quiz");
  const rows = question.choices.map((choice) => {
    const input = node("input", { type: "radio", name: group, change: () => setText(hint, "") });
    const mark = node("span", { class: "rl-mark" });
    const label = node("label", { class: "rl-choice" }, input, node("span", {}, ...prose(choice.text)), mark);
    return { choice, input, mark, label };
  });
  const hint = liveLine();
  const verdict = node("div", { class: "rl-verdict" });
  const others = node("details", { class: "rl-others", hidden: true });
  const button = node("button", { type: "button", class: "rl-button rl-primary", click: press }, "답 확인");
  const el = node(
    "fieldset",
    { class: "rl-question" },
    node("legend", {}, node("span", { class: "rl-count" }, `문제 ${index + 1}`), node("span", {}, ...prose(question.text))),
    ...rows.map((row) => row.label),
    node("div", { class: "rl-row" }, button, hint),
    verdict,
    others,
  );
  let tries = [];

  function press() {
    const chosen = rows.find((row) => row.input.checked);
    setAttr(verdict, "role", "status"); // from now on read out; what was restored at the start is not
    if (chosen) answer(chosen.choice.text);
    else setText(hint, "보기를 하나 고르십시오.");
  }

  function show(texts) {
    const known = texts.map((text) => rows.find((row) => row.choice.text === text)).filter(Boolean);
    if (known.length === tries.length && known.every((row, i) => row === tries[i])) return;
    tries = known;
    const last = tries.at(-1);
    if (last) last.input.checked = true;
    for (const row of rows) {
      const tried = tries.includes(row);
      setAttr(row.label, "data-state", tried ? (row.choice.correct ? "good" : "bad") : null);
      setText(row.mark, tried ? (row.choice.correct ? "맞음" : "아님") : "");
    }
    others.hidden = !solved();
    if (!last) { // what was answered has been cleared, on another page
      verdict.replaceChildren();
      delete verdict.dataset.tone;
      setText(button, "답 확인");
      return;
    }
    const good = last.choice.correct;
    verdict.dataset.tone = good ? "good" : "bad";
    verdict.replaceChildren(
      node("strong", {}, good ? "맞습니다. " : "아닙니다. "),
      ...prose(last.choice.why),
      ...(good ? [] : [" 다른 보기를 골라 다시 확인해 보십시오."]),
    );
    setText(button, "다시 확인");
    if (solved()) fillOthers();
  }

  /** Once it is solved, the explanations of the other choices can be read. */
  function fillOthers() {
    const rest = rows.filter((row) => !row.choice.correct);
    others.replaceChildren(
      node("summary", {}, "다른 보기가 아닌 까닭"),
      node("dl", {}, ...rest.flatMap((row) => [node("dt", {}, ...prose(row.choice.text)), node("dd", {}, ...prose(row.choice.why))])),
    );
  }

  const solved = () => tries.some((row) => row.choice.correct);
  const solvedAtOnce = () => tries.length > 0 && tries[0].choice.correct;
  return { id: question.id, el, show, solved, solvedAtOnce, tried: () => tries.length > 0 };
}

export default { initialize: ({ model }) => hearInSpite(model), render };
