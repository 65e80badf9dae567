// The lab's side of the pull protocol: one client per widget model, shared by all its views.
//
// The client owns what the learner sees. A press changes its state at once and is told to the host afterwards; the host
// (the kernel, or a recording on the site) trains only when the client asks for a slice. `subscribe(listener)` is called
// with "state" (buttons, notices, knobs), "data" (something to draw), or what happened: "done", "stopped", "pinned", "trouble".

import {SILENCE_MS} from "./hearing.js";
import {Pace} from "./pace.js";
import {newRun, runOf, frozenCopy, addFrame, singleFrames} from "./runs.js";

export const MAX_PINS = 5;
const TAKEOVER_MS = 1500; // after taking a run over, the other window's last answers may still arrive
const LEFTOVERS = 3; // so many answers to a closed or replaced window may come before another one is believed to be open
const PHASES = ["idle", "paused", "done", "stopped"];

export class LabClient {
  constructor(model) {
    this.model = model;
    this.spec = model.get("spec");
    this.recorded = model.get("host") === "recording";
    this.initial = Object.fromEntries(this.spec.knobs.map((k) => [k.name, this.spec.values?.[k.name] ?? k.default]));
    this.values = { ...this.initial };
    this.phase = "idle"; // idle | running | paused | done | stopped | error
    this.reason = ""; // why the host halted or failed
    this.following = false; // another window drives this run
    this.lost = false; // the host is silent
    this.run = null;
    this.pins = [];

    this.listeners = new Set();
    this.mine = new Set(); // runs that this window started or took over
    this.held = []; // frames that arrived during a pause
    this.stepsWanted = 0;
    this.awaiting = 0; // snapshots still to come
    this.resyncing = false;
    this.resumeOnAnswer = false;
    this.takeoverUntil = 0;
    this.foreign = 0; // answers to another window since this one last asked
    this.pressed = false; // the next request follows a press: a halted host goes on for no other
    this.firstNumber = Math.floor(Math.random() * 2 ** 40); // another window's numbers are others
    this.nextNumber = this.firstNumber;
    this.pace = new Pace();

    this.receive = this.receive.bind(this);
    model.on("msg:custom", this.receive);
    this.hello();
  }

  // ---- for the views

  subscribe(listener) {
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size === 0 && this.phase === "running" && !this.following) this.pause();
    };
  }

  dispose() {
    this.model.off("msg:custom", this.receive);
    clearTimeout(this.silenceTimer);
    clearTimeout(this.followTimer);
    this.pace.forgetRequests();
    this.phase = "paused";
  }

  /** What can be pressed now. */
  can() {
    const { phase, run, lost, following } = this;
    const live = !lost && !following;
    const changed = Object.entries(this.initial).some(([name, value]) => this.values[name] !== value);
    return {
      start: phase !== "running" || following,
      pause: live && phase === "running",
      resume: run !== null && !run.done && (following || phase === "paused"),
      step: live && (phase === "idle" || phase === "paused"),
      stop: live && (phase === "running" || phase === "paused"),
      reset: !following && (run !== null || changed || phase !== "idle"),
      pin: live && run !== null && run.at > 0 && phase !== "error" && this.pins.length < MAX_PINS && !this.pinned(),
    };
  }

  pinned() {
    return this.pins.some((pin) => pin.id === this.run?.id);
  }

  /** Whether the knobs differ from the settings of the run that is shown. */
  changed() {
    return this.run !== null && this.spec.knobs.some((k) => this.run.values[k.name] !== this.values[k.name]);
  }

  secondsLeft() {
    if (this.phase !== "running" || !this.pace.rate || !this.run?.total) return null;
    return (this.run.total - this.run.step) / this.pace.rate;
  }

  setValue(name, value) {
    this.values[name] = value;
    this.tell("state");
  }

  start() {
    if (!this.can().start) return;
    this.begin();
    this.phase = "running";
    this.pump();
    this.tell("state", "data");
  }

  pause() {
    this.phase = "paused";
    this.pace.forgetSpeed();
    this.tell("state");
  }

  resume() {
    if (!this.can().resume) return;
    if (!this.mine.has(this.run.id)) {
      this.mine.add(this.run.id);
      this.takeoverUntil = Date.now() + TAKEOVER_MS;
    }
    this.following = false;
    this.stepsWanted = 0;
    this.forgive();
    this.pressed = true;
    this.phase = "running";
    this.showHeld();
    this.pump();
    this.tell("state", "data");
  }

  /** Show exactly one more experiment frame. */
  step() {
    if (!this.can().step) return;
    if (this.run === null) this.begin();
    if (!this.mine.has(this.run.id)) this.mine.add(this.run.id);
    this.reason = "";
    this.phase = "paused";
    this.pressed = true;
    this.stepsWanted += 1;
    this.showSteps();
    this.tell("state", "data");
  }

  stop() {
    if (!this.can().stop) return;
    this.drop();
    this.phase = "stopped";
    this.ask("stop", { run: this.run.id });
    this.tell("state", "stopped");
  }

  reset() {
    if (!this.can().reset) return;
    this.drop();
    this.run = null;
    this.values = { ...this.initial };
    this.phase = "idle";
    this.forgive();
    this.ask("reset");
    this.tell("state", "data");
  }

  pin() {
    if (!this.can().pin) return;
    this.pins = [...this.pins, frozenCopy(this.run)];
    this.ask("pin", { run: this.run.id });
    this.tell("state", "data", "pinned");
  }

  unpin(id) {
    this.pins = this.pins.filter((pin) => pin.id !== id);
    this.ask("unpin", { run: id });
    this.tell("state", "data");
  }

  // ---- asking

  begin() {
    this.drop();
    const id = Math.random().toString(36).slice(2, 12);
    this.run = newRun(id, { ...this.values });
    this.mine.add(id);
    this.following = false;
    this.forgive();
    this.send({ type: "start", run: id, values: this.run.values });
  }

  hello() {
    this.resyncing = true;
    this.awaiting = 0;
    this.ask("hello");
  }

  ask(type, more = {}) {
    this.awaiting += 1;
    this.send({ type, ...more });
    this.watch();
  }

  send(message) {
    try {
      this.model.send(message);
    } catch (error) {
      console.error(error);
      this.silence();
    }
  }

  request(type, more) {
    const n = this.nextNumber++;
    this.pace.ask(n, more?.frames ?? 1);
    this.send({ type, run: this.run.id, n, ...more, ...(this.pressed && { resume: true }) });
    this.pressed = false;
    this.watch();
  }

  pump() {
    while (this.phase === "running" && !this.following && !this.resyncing && this.pace.due) {
      this.request("tick", { ms: this.pace.frameMs, frames: this.pace.frames });
    }
  }

  drop() {
    this.held = [];
    this.stepsWanted = 0;
    this.pace.forgetRequests();
    this.pace.forgetSpeed();
  }

  forgive() {
    this.reason = "";
    this.lost = false;
    this.resumeOnAnswer = false;
    this.foreign = 0;
  }

  watch() {
    clearTimeout(this.silenceTimer);
    if (this.pace.owed > 0 || this.awaiting > 0) this.silenceTimer = setTimeout(() => this.silence(), SILENCE_MS);
  }

  silence() {
    this.lost = true;
    this.pace.forgetRequests();
    this.awaiting = 0;
    this.resyncing = false;
    this.pace.forgetSpeed();
    if (this.phase === "running" && !this.following) {
      this.phase = "paused";
      this.resumeOnAnswer = true;
    }
    this.tell("state", "trouble");
  }

  // ---- hearing

  receive(message) {
    const wasLost = this.lost;
    this.lost = false;
    if (message.type === "frame") this.onFrame(message);
    else if (message.type === "snapshot") this.onSnapshot(message);
    else if (message.type === "halted") this.onHalted(message);
    else if (message.type === "error") this.onError(message);
    if (wasLost && this.resumeOnAnswer && this.phase === "paused") {
      this.resumeOnAnswer = false;
      this.phase = "running";
      this.showHeld();
    }
    this.pump();
    this.watch();
    if (wasLost) this.tell("state");
  }

  onFrame(frame) {
    const own = frame.n >= this.firstNumber && frame.n < this.nextNumber;
    if (own) this.pace.answered(frame.n, frame.ms ?? 0, frame.more ?? 0);
    if (frame.run !== this.run?.id) {
      if (!own && !this.mine.has(frame.run)) this.follow(true);
      return;
    }
    if (!own && Date.now() > this.takeoverUntil) this.follow(false);
    if (this.resyncing) return;
    if (frame.at !== this.run.arrived) {
      this.hello();
      return;
    }
    const before = this.held.at(-1)?.step ?? this.run.step;
    this.run.arrived += frame.frames;
    if (this.phase === "running") this.show(frame);
    else if (this.phase === "paused") {
      this.held.push(...singleFrames(frame, before));
      this.showSteps();
    }
  }

  show(frame) {
    addFrame(this.run, frame);
    this.pace.moved(this.run.step);
    if (this.run.done) {
      this.drop();
      this.following = false;
      this.phase = "done";
      this.tell("state", "data", "done");
    } else {
      this.tell("data");
    }
  }

  showHeld() {
    for (const frame of this.held.splice(0)) this.show(frame);
  }

  showSteps() {
    while (this.stepsWanted > 0 && this.held.length > 0 && this.phase === "paused") {
      this.stepsWanted -= 1;
      this.show(this.held.shift());
    }
    while (this.phase === "paused" && this.pace.owed < this.stepsWanted) this.request("step");
  }

  onSnapshot(snapshot) {
    this.awaiting = Math.max(0, this.awaiting - 1);
    const first = this.resyncing;
    this.resyncing = false;
    if (this.awaiting === 0) this.takePins(snapshot.pins ?? []);
    const fresh = this.run !== null && this.run.arrived === 0 && this.mine.has(this.run.id);
    if (snapshot.run && snapshot.run === this.run?.id) {
      if (first || snapshot.at !== this.run.arrived) this.adopt(snapshot);
    } else if (this.awaiting === 0 && !fresh && !(snapshot.run && this.mine.has(snapshot.run))) {
      this.adopt(snapshot);
    }
    this.tell("state", "data");
  }

  /** Take the host's history for ours: after a reload, after a lost message, or because another window began a run. */
  adopt(snapshot) {
    const same = snapshot.run && snapshot.run === this.run?.id;
    const goesOn = this.phase === "running" && (same || this.following);
    const keepPhase = same && ["stopped", "error"].includes(this.phase);
    this.held = [];
    this.stepsWanted = 0;
    this.run = snapshot.run ? runOf(snapshot) : null;
    if (this.run === null) this.phase = "idle";
    else if (this.run.done) this.phase = "done";
    else if (!goesOn && !keepPhase) this.phase = PHASES.includes(snapshot.state) ? snapshot.state : "paused";
    if (this.phase !== "running") {
      this.following = false;
      this.pace.forgetRequests();
    }
    if (this.run !== null && !same) this.values = { ...this.values, ...this.run.values };
  }

  takePins(pins) {
    const known = new Map(this.pins.map((pin) => [pin.id, pin]));
    this.pins = pins.map((pin) => known.get(pin.run) ?? runOf(pin));
  }

  /** Another window drives the run: show its frames, ask for nothing, and notice when it goes quiet. */
  follow(unknownRun) {
    if (unknownRun && !this.resyncing) this.hello();
    this.foreign += 1;
    if (!this.following && this.foreign <= LEFTOVERS) return;
    if (!this.following) {
      this.following = true;
      this.pace.forgetRequests();
      this.stepsWanted = 0;
      this.forgive();
      this.phase = "running";
      if (this.run !== null && !unknownRun) this.showHeld();
      this.tell("state");
    }
    clearTimeout(this.followTimer);
    this.followTimer = setTimeout(() => {
      if (!this.following) return;
      this.following = false;
      this.foreign = 0;
      this.phase = this.run === null ? "idle" : "paused";
      this.tell("state");
    }, SILENCE_MS);
  }

  onHalted(message) {
    if (message.run !== this.run?.id) return;
    this.pace.forgetRequests();
    this.stepsWanted = 0;
    this.following = false;
    this.phase = "paused";
    this.reason = message.reason;
    this.tell("state", "trouble");
  }

  onError(message) {
    if (this.run !== null && message.run && message.run !== this.run.id) return;
    this.drop();
    this.following = false;
    this.phase = "error";
    this.reason = message.text;
    this.tell("state", "trouble");
  }

  tell(...kinds) {
    for (const listener of [...this.listeners]) for (const kind of kinds) listener(kind);
  }
}
