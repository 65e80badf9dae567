// A host for the page tests: it answers the pull protocol with made-up runs, and can be told to misbehave.

export const SPEC = {
  id: "mock",
  title: "깊이와 성능 저하",
  note: "플레인 망과 잔차 망을 같은 데이터로 학습하면서 손실과 층별 그래디언트를 봅니다.",
  knobs: [
    { name: "depth", kind: "slider", label: "깊이 L", unit: "층", values: [4, 8, 16, 32, 64], labels: null, default: 32, help: "" },
    { name: "lr", kind: "log", label: "학습률", unit: "", values: [0.001, 0.003, 0.01, 0.03], labels: null, default: 0.01, help: "큰 값에서는 발산할 수 있습니다." },
    { name: "act", kind: "choice", label: "활성화 함수", unit: "", values: ["relu", "tanh"], labels: ["ReLU", "tanh"], default: "relu", help: "" },
    { name: "opt", kind: "choice", label: "최적화", unit: "", values: ["sgd", "momentum", "adam", "adamw", "rmsprop"], labels: ["SGD", "SGD + 모멘텀", "Adam", "AdamW", "RMSprop"], default: "momentum", help: "" },
    { name: "bn", kind: "toggle", label: "배치 정규화", unit: "", values: [false, true], labels: null, default: true, help: "" },
    { name: "seed", kind: "seed", label: "시드", unit: "", values: Array.from({ length: 100 }, (_, i) => i), labels: null, default: 0, help: "" },
  ],
  panels: [
    { key: "loss", kind: "lines", title: "학습 손실", x: "단계", y: "교차 엔트로피", scale: "log",
      series: [{ key: "plain", label: "플레인" }, { key: "res", label: "잔차" }, { key: "shallow", label: "얕은 플레인" }, { key: "zero", label: "잔차, 0 초기화" }] },
    { key: "error", kind: "lines", title: "학습 오차", x: "단계", y: "학습 오차 (%)", scale: "linear", series: [{ key: "plain", label: "플레인" }, { key: "res", label: "잔차" }] },
    { key: "grad", kind: "bars", title: "층별 그래디언트 노름", x: "층 (입력 → 출력)", y: "‖∂ℓ/∂W‖", scale: "log", series: [{ key: "plain", label: "플레인" }, { key: "res", label: "잔차" }] },
    { key: "map", kind: "heat", title: "학습률과 깊이", x: "학습률", y: "깊이", z: "마지막 학습 손실", scale: "log" },
    { key: "final", kind: "table", title: "마지막 값", columns: ["조건", "학습 손실", "학습 오차 (%)"] },
  ],
  values: { depth: 32, lr: 0.01, act: "relu", opt: "momentum", bn: true, seed: 0 },
  code: "Lab(MLPDepth, {values})",
};

function noise(a, b) {
  const v = Math.sin(a * 12.9898 + b * 78.233) * 43758.5453;
  return v - Math.floor(v) - 0.5;
}

export class MockHost {
  /** total: frames of a run; stride: steps a frame; seeds; delay: ms from a request to its answer. */
  constructor({ spec = SPEC, total = 60, stride = 5, seeds = 5, delay = 2, perTick = 1, host = "kernel", recording = null } = {}) {
    Object.assign(this, { total, stride, seeds, delay, perTick });
    this.data = { spec: structuredClone(spec), host, recording };
    this.callbacks = new Set();
    this.sent = []; // messages of the front end
    this.pins = [];
    this.run = null;
    this.owed = 0; // frames asked for and not yet seen by the page
    this.mostOwed = 0;
    this.silent = false; // do not answer at all
    this.loses = -1; // the frame whose message is lost
    this.errorNext = null; // answer the next tick with this error
  }

  get(name) { return this.data[name]; }
  set() {}
  save_changes() {}
  on(event, callback) { this.callbacks.add(callback); }
  off(event, callback) { this.callbacks.delete(callback); }

  emit(message) {
    if (this.silent) return;
    if (message.type === "frame") setTimeout(() => { this.owed -= 1; }, this.delay);
    const copy = JSON.parse(JSON.stringify(message));
    setTimeout(() => { for (const callback of [...this.callbacks]) callback(copy, []); }, this.delay);
  }

  send(message) {
    this.sent.push(message);
    const { type } = message;
    if (type === "start") {
      this.run = { id: message.run, values: message.values, frames: 0, state: "paused", seconds: 0 };
    } else if (type === "tick" || type === "step") {
      if (this.run?.id !== message.run || (this.halted && !message.resume)) return;
      this.halted = false;
      if (this.errorNext) {
        this.run.state = "stopped";
        this.emit({ type: "error", run: message.run, text: this.errorNext });
        this.errorNext = null;
        return;
      }
      const frames = message.frames ?? 1;
      this.owed += frames;
      this.mostOwed = Math.max(this.mostOwed, this.owed);
      for (let more = frames - 1; more >= 0 && this.run.state === "paused"; more -= 1) this.frame(message.n, more, type === "step" ? 1 : this.perTick);
    } else {
      if (type === "stop" && this.run) this.run.state = "stopped";
      if (type === "reset") this.run = null;
      if (type === "pin" && this.pins.length < 5) this.pins.push(this.shot());
      if (type === "unpin") this.pins = this.pins.filter((pin) => pin.run !== message.run);
      this.emit({ type: "snapshot", state: this.run?.state ?? "idle", pins: this.pins, ...(this.run ? this.shot() : { run: null }) });
    }
  }

  /** Another lab of the kernel begins to train. */
  halt(reason) {
    this.halted = true;
    this.emit({ type: "halted", run: this.run.id, reason });
  }

  /** As anywidget does, hand out another object each time: only what it holds is the same. */
  wrapped() {
    return {
      get: (name) => this.get(name), set() {}, save_changes() {}, wrapped: () => this.wrapped(),
      on: (event, callback) => this.on(event, callback), off: (event, callback) => this.off(event, callback),
      send: (message) => this.send(message),
    };
  }

  /** The same kernel-side lab seen by another browser window, which has its own copy of the data. */
  otherWindow() {
    const data = structuredClone(this.data);
    const model = { ...this.wrapped(), get: (name) => data[name], wrapped: () => model };
    return model;
  }

  /** How many messages of a type the front end has sent. */
  count(type) {
    return this.sent.filter((message) => message.type === type).length;
  }

  shot() {
    const { id, values, frames, state, seconds } = this.run;
    return { run: id, values, at: frames, step: frames * this.stride, total: this.total * this.stride, seconds, done: state === "done", ...this.pictures(0, frames) };
  }

  frame(n, more, count) {
    const { run } = this;
    const at = run.frames;
    run.frames = Math.min(this.total, at + count);
    run.state = run.frames === this.total ? "done" : "paused";
    run.seconds += 0.02;
    const frame = {
      type: "frame", run: run.id, n, more, at, frames: run.frames - at, ...this.pictures(at, run.frames), step: run.frames * this.stride, total: this.total * this.stride,
      done: run.state === "done", ms: 1, seconds: run.seconds,
    };
    if (this.loses < at || this.loses >= run.frames) this.emit(frame);
  }

  /** What frames from … to − 1 of the run bring. */
  pictures(from, to) {
    const { depth, lr, seed } = this.run.values;
    const speed = { plain: 3 / depth, res: 1.1, shallow: 0.6, zero: 1.6 };
    const curves = {};
    for (const panel of this.data.spec.panels.filter((p) => p.kind === "lines")) {
      curves[panel.key] = {};
      panel.series.forEach(({ key }, i) => {
        const line = { x: [], y: [] };
        for (let k = from; k < to; k += 1) {
          const t = (k + 1) / this.total;
          line.x.push((k + 1) * this.stride);
          line.y.push(Array.from({ length: this.seeds }, (_, s) => {
            if (lr >= 0.03 && key === "plain" && t > 0.4 && s < 2) return null;
            const loss = 2.3 * Math.exp(-6 * (lr / 0.01) ** 0.5 * speed[key] * t) * (1 + 0.25 * noise(s + seed, i)) * (1 + 0.12 * noise(k, s + i)) + 0.002;
            return panel.key === "error" ? Math.max(0, 90 * Math.min(1, loss / 2.3) - 0.5) : loss;
          }));
        }
        curves[panel.key][key] = line;
      });
    }
    if (to === 0) return { curves, profiles: {}, matrices: {}, tables: {} };
    const layers = (base, decay) => Array.from({ length: depth }, (_, l) => base * decay ** (depth - l) * (1 + 0.5 * noise(l, to)));
    const profiles = { grad: { plain: layers(0.4, 0.86), res: layers(0.3, 0.995) } };
    const lrs = [0.001, 0.003, 0.01, 0.03, 0.1];
    const z = [8, 16, 32, 64].map((d, r) => lrs.map((v, c) => (r + c > 5 ? null : 0.004 * 3 ** (r + Math.abs(c - 2)) * (1 + noise(r, c)))));
    if (to < this.total) z[3].length = Math.round((5 * to) / this.total);
    const matrices = { map: { xs: lrs.map(String), ys: ["8", "16", "32", "64"], z } };
    const tables = to === this.total ? { final: [["플레인", 0.8234, 31.2], ["잔차", 0.0123, 0.4], ["얕은 플레인", 0.0841, 2.25]] } : {};
    return { curves, profiles, matrices, tables };
  }
}
