// The kernel's stand-in on the site: it answers the labs' pull protocol from a recording of real runs.

import {SiteModel} from "./sitemodel.js";

const LONGEST_PLAY_MS = 6000; // a run that took longer is played faster
const LONGEST_SLICE_MS = 500; // an answer comes at least this often, even when there is no new point
const MOST_PINS = 5;

// The recording's spec with every knob restricted to what was recorded, starting from the values `wished`.
function recordedSpec(recording, wished) {
  const spec = structuredClone(recording.spec);
  for (const knob of spec.knobs) {
    const recorded = recording.grid[knob.name] ?? [knob.default];
    if (knob.labels) knob.labels = recorded.map((value) => knob.labels[knob.values.indexOf(value)]);
    knob.values = recorded;
    if (!recorded.includes(knob.default)) knob.default = recorded[0];
    const start = wished?.[knob.name] ?? spec.values[knob.name];
    spec.values[knob.name] = recorded.includes(start) ? start : knob.default;
  }
  return spec;
}

// One run of the recording and how far it has been played.
class Playback {
  constructor(run, record) {
    this.run = run;
    this.record = record;
    const steps = new Set();
    const series = Object.values(record.curves).flatMap((panel) => Object.values(panel));
    for (const {x} of series) for (const step of x) steps.add(step);
    for (const {step} of [...record.profiles, ...record.matrices]) steps.add(step);
    this.steps = [...steps].sort((a, b) => a - b);
    this.end = this.steps.at(-1) ?? record.step;
    this.position = -Infinity; // step up to which the view has been told
    this.sent = 0; // how many of `steps` that is
    this.stopped = false;
    const realMs = record.seconds * 1000;
    this.pace = Math.max(1, realMs / LONGEST_PLAY_MS);
    this.stepsPerMs = this.end / Math.max(1, realMs / this.pace);
  }

  get done() {
    return this.sent === this.steps.length;
  }

  get state() {
    return this.done ? "done" : this.stopped ? "stopped" : "paused";
  }

  // How long a slice of about `ms` lasts, stretched to reach the next point where that is near.
  sliceMs(ms) {
    if (this.done) return 0;
    const untilNext = (this.steps[this.sent] - this.played()) / this.stepsPerMs;
    return Math.min(Math.max(ms, untilNext), LONGEST_SLICE_MS);
  }

  played() {
    return Math.max(0, this.position);
  }

  advance(ms) {
    return this.frame(Math.min(this.end, this.played() + ms * this.stepsPerMs));
  }

  single() {
    return this.frame(this.steps[this.sent] ?? this.end);
  }

  frame(until) {
    const from = this.position;
    const at = this.sent;
    this.position = until;
    while (!this.done && this.steps[this.sent] <= until) this.sent += 1;
    return {at, frames: this.sent - at, ...this.between(from), ...this.progress()};
  }

  snapshot() {
    return {at: this.sent, ...this.between(-Infinity), ...this.progress()};
  }

  pin() {
    const {curves, profiles, matrices, tables, step, total, done} = this.snapshot();
    return {run: this.run, values: this.record.values, curves, profiles, matrices, tables, step, total, done};
  }

  progress() {
    const share = this.done ? 1 : this.played() / this.end;
    return {
      step: Math.round(this.record.step * share),
      total: this.record.total,
      done: this.done,
      seconds: this.record.seconds * share,
    };
  }

  // What lies after step `from`, up to the position: new points of curves, and of the rest the latest.
  between(from) {
    const due = (step) => step > from && step <= this.position;
    const latest = (list) => list.filter(({step}) => due(step)).at(-1)?.data ?? {};
    const curves = {};
    for (const [panel, lines] of Object.entries(this.record.curves)) {
      curves[panel] = {};
      for (const [key, {x, y}] of Object.entries(lines)) {
        curves[panel][key] = {x: x.filter(due), y: y.filter((_, i) => due(x[i]))};
      }
    }
    return {
      curves,
      profiles: latest(this.record.profiles),
      matrices: latest(this.record.matrices),
      tables: this.done ? this.record.tables : {},
    };
  }
}

// A lab's model, as anywidget gives it to the view, with a recording where the kernel would be.
export class RecordedLab extends SiteModel {
  // `onplay(record, pace)` is called when a run starts to play.
  constructor(recording, wished, onplay) {
    super({spec: recordedSpec(recording, wished), host: "recording", recording});
    this.onplay = onplay;
    this.playback = null;
    this.pins = [];
    this.ticks = Promise.resolve();
  }

  send(message) {
    this[`on_${message.type}`](message);
  }

  on_hello() {
    this.answer();
  }

  on_start({run, values}) {
    const wanted = {...this.get("spec").values, ...values};
    const record = this.get("recording").runs.find((r) => Object.entries(wanted).every(([name, value]) => r.values[name] === value));
    if (!record) {
      this.emit({type: "error", run, text: "이 설정으로 학습한 기록이 없습니다. 다른 값을 고르거나, 노트북을 열어 직접 학습해 보십시오."});
      return;
    }
    this.playback = new Playback(run, record);
    this.onplay(record, this.playback.pace);
  }

  on_tick({run, n, ms}) {
    this.ticks = this.ticks.then(async () => {
      const playback = this.current(run);
      if (!playback) return;
      const slice = playback.sliceMs(ms);
      const began = performance.now();
      await new Promise((resolve) => setTimeout(resolve, slice));
      const spent = performance.now() - began;
      if (this.current(run) === playback) this.emit({type: "frame", run, n, ...playback.advance(slice), ms: spent});
    });
  }

  on_step({run, n}) {
    const playback = this.current(run);
    if (playback) this.emit({type: "frame", run, n, ...playback.single(), ms: 0});
  }

  on_stop({run}) {
    const playback = this.current(run);
    if (playback) playback.stopped = true;
    this.answer();
  }

  on_reset() {
    this.playback = null;
    this.answer();
  }

  on_pin({run}) {
    const pinned = this.pins.some((pin) => pin.run === run);
    if (this.playback?.run === run && !pinned && this.pins.length < MOST_PINS) this.pins.push(this.playback.pin());
    this.answer();
  }

  on_unpin({run}) {
    this.pins = this.pins.filter((pin) => pin.run !== run);
    this.answer();
  }

  // The run being played, unless it was stopped, reset or followed by another.
  current(run) {
    return this.playback?.run === run && !this.playback.stopped ? this.playback : null;
  }

  answer() {
    const nothing = {at: 0, curves: {}, profiles: {}, matrices: {}, tables: {}, step: 0, total: 0, done: false, seconds: 0};
    const {run = null, record, state = "idle"} = this.playback ?? {};
    const shown = this.playback?.snapshot() ?? nothing;
    this.emit({type: "snapshot", state, run, values: record?.values ?? this.get("spec").values, ...shown, pins: this.pins});
  }

  emit(message) {
    setTimeout(() => this.trigger("msg:custom", structuredClone(message), []), 0);
  }
}
