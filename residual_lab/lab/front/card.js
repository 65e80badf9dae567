// What quizzes and predictions share: the frame, plain text with `code`, and the keeping of what was committed.

import {node, setText} from "./dom.js";
import {SILENCE_MS, RESTARTED, UNANSWERED} from "./hearing.js";

/** The frame of a widget. JupyterLab takes keys pressed in outputs for its own shortcuts: only those it needs get through. */
export function card(kind, label) {
  return node("div", { class: `residual-lab rl-${kind}`, role: "group", "aria-label": label, keydown: keepKey });
}

function keepKey(event) {
  const forHost = event.ctrlKey || event.metaKey || event.altKey || event.key === "Escape" || (event.shiftKey && event.key === "Enter");
  if (!forHost) event.stopPropagation();
}

/** Text in which `words` between backticks are code. */
export function prose(text) {
  return text.split("`").map((part, i) => (i % 2 ? node("code", {}, part) : part));
}

/** A line that screen readers read out when its text changes. */
export function liveLine(attrs = {}) {
  return node("p", { role: "status", class: "rl-small", ...attrs });
}

/** Says and hears what is kept. `changed` is called with this keeper after every answer and every failure to answer. */
export class Keeper {
  constructor(model, changed) {
    this.model = model;
    this.changed = changed;
    this.history = [];
    this.notices = [];
    this.trouble = "";
    this.known = false; // the host has answered
    this.pending = false; // a commit is not yet answered
    this.receive = this.receive.bind(this);
    model.on("msg:custom", this.receive);
  }

  get value() {
    return this.history.at(-1)?.value;
  }

  hello() {
    this.ask({ type: "hello" });
  }

  commit(value) {
    if (this.pending) return;
    this.pending = true;
    this.ask({ type: "commit", value });
  }

  ask(message) {
    this.model.send(message);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.trouble = this.pending
        ? `커널이 아직 답하지 않아 적어 두지 못했습니다. 실행 중인 셀이 끝나면 저장됩니다. ${RESTARTED}`
        : UNANSWERED;
      this.changed(this);
    }, SILENCE_MS);
  }

  receive(message) {
    clearTimeout(this.timer);
    this.pending = false;
    this.trouble = message.type === "error" ? message.text : "";
    if (message.type === "committed") {
      this.known = true;
      this.history = message.history;
      this.notices = [...this.notices, ...message.notices];
    }
    this.changed(this);
  }

  dispose() {
    clearTimeout(this.timer);
    this.model.off("msg:custom", this.receive);
  }
}

/** A notice under the widget: trouble with keeping, told once it is there. */
export function showTrouble(el, keeper) {
  const lines = [...keeper.notices, keeper.trouble].filter(Boolean);
  setText(el, lines.join(" "));
  el.hidden = lines.length === 0;
}
