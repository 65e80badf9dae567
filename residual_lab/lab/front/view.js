// One view of a lab: lays out knobs, buttons, progress, notices, pins and charts, and keeps them equal to the client's state.

import {node, shape, setText, setAttr, setEnabled, isEnabled, guardKeys, freshId} from "./dom.js";
import {MAX_PINS} from "./client.js";
import {createControl, valueText} from "./controls.js";
import {createChart, onNextFrame} from "./charts.js";
import {pinNumber, pinDash} from "./plot.js";
import {progressText, stateText, notice, summaryText, provenanceText} from "./words.js";
import {csvOf, linkOf, valuesFromHash, codeOf, fileName, download, copied} from "./save.js";
import {pictureOf} from "./picture.js";

const ICONS = {
  start: "M4,2.5V13.5L13,8Z",
  pause: "M4,3H6.7V13H4ZM9.3,3H12V13H9.3Z",
  resume: "M3,3H5V13H3ZM7,3V13L14,8Z",
  step: "M3,3V13L10,8ZM11,3H13V13H11Z",
  stop: "M4,4H12V12H4Z",
  reset: "M8,3A5,5 0 1,1 3.2,6.6L4.8,7.1A3.4,3.4 0 1,0 8,4.7V7L4.2,3.8L8,0.7Z",
  pin: "M5,2H11V4L10,4.6V8L12,10V11H8.7V15H7.3V11H4V10L6,8V4.6L5,4Z",
};
const SUMMED_UP = ["done", "stopped", "pinned", "trouble"];

function icon(name) {
  return shape("svg", { class: "rl-icon", width: 16, height: 16, viewBox: "0 0 16 16", "aria-hidden": "true" }, shape("path", { d: ICONS[name] }));
}

export class LabView {
  constructor(client, el) {
    this.client = client;
    this.build();
    el.append(this.root);
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.drawing = onNextFrame(() => this.drawData(), calm ? 1000 : 0);
    this.readAddress = this.readAddress.bind(this);
    if (client.recorded) {
      window.addEventListener("hashchange", this.readAddress);
      this.readAddress();
    }
    this.leave = client.subscribe((kind) => this.hear(kind));
    this.drawState();
    this.drawData();
  }

  dispose() {
    this.leave();
    this.drawing.cancel();
    window.removeEventListener("hashchange", this.readAddress);
    this.charts.forEach((chart) => chart.destroy());
    this.root.remove();
  }

  /** Settings in the page's address (#lab=…&depth=32) are taken over when they are for this lab. */
  readAddress() {
    const values = valuesFromHash(this.client.spec, location.hash);
    for (const [name, value] of Object.entries(values ?? {})) this.client.setValue(name, value);
    if (values) this.root.scrollIntoView({ block: "nearest" });
  }

  hear(kind) {
    if (kind === "data") this.drawing.request();
    else if (kind === "state") this.drawState();
    else if (SUMMED_UP.includes(kind)) {
      setText(this.summary, summaryText(this.client, kind));
      this.toldOfTrouble = kind === "trouble";
      this.summary.classList.toggle("rl-sr", this.toldOfTrouble); // the notice shows it already
    }
  }

  // ---- making

  build() {
    const { client } = this;
    const { spec } = client;
    const titleId = freshId("lab");
    this.badge = node("span", { class: "rl-badge", hidden: !client.recorded }, "기록한 실제 학습을 다시 보여 줍니다");
    this.provenance = node("p", { class: "rl-small rl-provenance" }, provenanceText(client.model.get("recording")));
    this.provenance.hidden = !this.provenance.textContent;
    this.controls = new Map(spec.knobs.map((knob) => [knob.name, createControl(knob, (value) => client.setValue(knob.name, value))]));
    this.charts = spec.panels.map((panel) => createChart(panel));
    this.root = node("div", { class: "residual-lab rl-lab", role: "group", "aria-labelledby": titleId, "data-lab": spec.id, keydown: guardKeys },
      node("div", { class: "rl-head" },
        node("div", {}, node("div", { class: "rl-title", id: titleId }, spec.title), node("p", { class: "rl-note" }, spec.note), this.provenance),
        this.badge),
      node("div", { class: "rl-knobs", role: "group", "aria-label": "설정" }, ...[...this.controls.values()].map((control) => control.el)),
      this.buildButtons(),
      this.buildProgress(),
      (this.notice = node("p", { class: "rl-notice rl-told", hidden: true })),
      (this.pending = node("p", { class: "rl-notice rl-pending", hidden: true }, "바꾼 설정은 다음 시작부터 적용됩니다.")),
      (this.runs = node("ul", { class: "rl-runs", "aria-label": "그림에 있는 실행", hidden: true })),
      node("div", { class: "rl-charts" }, ...this.charts.map((chart) => chart.el)),
      this.buildFoot());
  }

  button(name, text, hint, press) {
    const label = node("span", {}, text);
    const button = node("button", { type: "button", class: "rl-button", "data-act": name, title: hint, click: () => isEnabled(button) && press() }, icon(name), label);
    return { button, label };
  }

  buildButtons() {
    const { client } = this;
    this.startButton = this.button("start", "시작", "지금 설정으로 새로 시작합니다", () => client.start());
    this.pauseButton = this.button("pause", "일시정지", "그림을 멈춥니다. 다시 누르면 이어집니다", () => (client.can().pause ? client.pause() : client.resume()));
    this.stepButton = this.button("step", "한 단계", "한 번만 나아갑니다", () => client.step());
    this.stopButton = this.button("stop", "정지", "이 실행을 끝냅니다. 그림은 남습니다", () => client.stop());
    this.resetButton = this.button("reset", "초기화", "그림을 지우고 설정을 처음 값으로 되돌립니다", () => client.reset());
    this.pinButton = this.button("pin", "고정", `이 실행을 그림에 남겨 다음 실행과 견줍니다 (${MAX_PINS}개까지)`, () => client.pin());
    const all = [this.startButton, this.pauseButton, this.stepButton, this.stopButton, this.resetButton, this.pinButton];
    return node("div", { class: "rl-bar", role: "group", "aria-label": "실행" }, ...all.map(({ button }) => button));
  }

  buildProgress() {
    this.meter = node("progress", { class: "rl-meter", max: 1, value: 0, "aria-label": "진행" });
    this.state = node("span", { class: "rl-state" });
    this.steps = node("span", { class: "rl-steps" });
    return node("div", { class: "rl-progress" }, this.meter, node("div", { class: "rl-progress-text" }, this.state, this.steps));
  }

  buildFoot() {
    const { client } = this;
    const quiet = (act, text, press) => node("button", { type: "button", class: "rl-button rl-quiet", "data-act": act, click: press }, text);
    this.copyButton = quiet("copy", client.recorded ? "설정이 담긴 링크 복사" : "설정이 담긴 코드 복사", () => this.copy());
    this.copyText = node("textarea", { class: "rl-copy", readonly: true, rows: 2, "aria-label": "복사할 내용", hidden: true });
    this.said = node("span", { class: "rl-small rl-said", role: "status" });
    this.summary = node("p", { class: "rl-summary", role: "status", "aria-live": "polite" });
    return node("div", { class: "rl-foot" },
      this.summary,
      node("div", { class: "rl-save", role: "group", "aria-label": "저장" },
        quiet("png", "그림 저장 (PNG)", () => this.savePicture()),
        quiet("csv", "값 저장 (CSV)", () => this.saveValues()),
        this.copyButton, this.said),
      this.copyText);
  }

  // ---- showing

  drawState() {
    const { client } = this;
    this.drawButtons();
    setText(this.state, stateText(client));
    setAttr(this.root, "data-phase", client.lost ? "lost" : client.following ? "following" : client.phase);
    const told = notice(client);
    this.notice.hidden = told === null;
    setText(this.notice, told?.text ?? "");
    setAttr(this.notice, "data-tone", told?.tone);
    this.pending.hidden = !client.changed();
    for (const [name, control] of this.controls) control.set(client.values[name]);
    if (!client.run?.at || (this.toldOfTrouble && !told)) setText(this.summary, told?.text ?? "");
    this.drawRuns();
    this.drawProgress();
  }

  drawButtons() {
    const { client } = this;
    const can = client.can();
    setEnabled(this.startButton.button, can.start);
    setEnabled(this.pauseButton.button, can.pause || can.resume);
    setEnabled(this.stepButton.button, can.step);
    setEnabled(this.stopButton.button, can.stop);
    setEnabled(this.resetButton.button, can.reset);
    setEnabled(this.pinButton.button, can.pin);
    setText(this.startButton.label, client.run === null ? "시작" : "다시 시작");
    this.showPauseButton(can.resume);
    setText(this.pinButton.label, client.pinned() ? "고정함" : "고정");
    const primary = can.pause || can.resume ? this.pauseButton : this.startButton;
    for (const { button } of [this.startButton, this.pauseButton]) button.classList.toggle("rl-primary", button === primary.button);
  }

  showPauseButton(resumes) {
    const { button, label } = this.pauseButton;
    setText(label, resumes ? "계속" : "일시정지");
    if (resumes !== this.resumes) button.querySelector("svg").replaceWith(icon(resumes ? "resume" : "pause"));
    this.resumes = resumes;
  }

  drawProgress() {
    const { run } = this.client;
    this.meter.max = run?.total || 1;
    this.meter.value = run?.step ?? 0;
    setText(this.steps, progressText(this.client));
  }

  drawData() {
    const { run, pins } = this.client;
    for (const chart of this.charts) {
      chart.update({ run, pins });
      chart.draw();
    }
    this.drawButtons();
    this.drawProgress();
    this.drawRuns();
  }

  /** Legend of the runs in the pictures: this one and the pinned ones; settings in which they differ stand out. */
  drawRuns() {
    const { client } = this;
    const { spec, run, pins } = client;
    const key = JSON.stringify([run?.values, pins.map((pin) => [pin.id, pin.values, pin.step])]);
    if (key === this.runsKey) return;
    this.runsKey = key;
    const all = [run, ...pins].filter(Boolean);
    const differing = new Set(spec.knobs.filter((k) => all.some((r) => r.values[k.name] !== all[0].values[k.name])).map((k) => k.name));
    const settings = (values) => spec.knobs.map((k) => {
      const text = `${k.label} ${valueText(k, values[k.name])}`;
      return node(differing.has(k.name) ? "strong" : "span", { class: "rl-setting" }, text);
    });
    const line = (dash) => shape("svg", { class: "rl-swatch", width: 30, height: 12, "aria-hidden": "true" },
      shape("path", { class: dash ? "rl-pin" : "rl-mean", d: "M1,6H29", "stroke-dasharray": dash }));
    this.runs.replaceChildren(
      ...(run ? [node("li", {}, line(null), node("b", {}, "지금"), node("span", { class: "rl-settings" }, ...settings(run.values)))] : []),
      ...pins.map((pin, k) => node("li", { "data-pin": pin.id }, line(pinDash(k)), node("b", {}, `${pinNumber(k)} 고정`),
        node("span", { class: "rl-settings" }, ...settings(pin.values), pin.done ? null : node("span", { class: "rl-setting" }, `단계 ${pin.step}까지`)),
        node("button", { type: "button", class: "rl-button rl-square rl-quiet", "aria-label": `고정 ${pinNumber(k)} 빼기`, title: "빼기", click: () => this.unpin(pin.id, k) }, "×"))));
    this.runs.hidden = all.length === 0;
  }

  /** The focus goes to the neighbour of a pin that is taken out, so that the keyboard stays where it was. */
  unpin(id, k) {
    this.client.unpin(id);
    const buttons = this.runs.querySelectorAll("button");
    (buttons[Math.min(k, buttons.length - 1)] ?? this.pinButton.button).focus();
  }

  // ---- taking away

  say(text) {
    setText(this.said, text);
    clearTimeout(this.saidTimer);
    this.saidTimer = setTimeout(() => setText(this.said, ""), 6000);
  }

  async savePicture() {
    const isLog = (key) => this.charts.find((chart) => chart.panel.key === key).log;
    try {
      download(await pictureOf(this.client, isLog), fileName(this.client, "png"));
      this.say("그림을 저장했습니다.");
    } catch (error) {
      console.error(error);
      this.say("이 브라우저에서는 그림을 만들지 못했습니다. 화면을 캡처해 쓰십시오.");
    }
  }

  saveValues() {
    download(new Blob([csvOf(this.client)], { type: "text/csv;charset=utf-8" }), fileName(this.client, "csv"));
    this.say("값을 저장했습니다.");
  }

  async copy() {
    const { spec, values, recorded } = this.client;
    const text = recorded ? linkOf(spec, values) : codeOf(spec, values);
    const done = await copied(text);
    this.copyText.hidden = done;
    if (done) {
      this.say("복사했습니다.");
      return;
    }
    this.copyText.value = text;
    this.copyText.focus();
    this.copyText.select();
    this.say("아래 글을 복사하십시오.");
  }
}
