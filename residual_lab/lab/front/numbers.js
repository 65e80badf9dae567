// Numbers as a Korean reader sees them (three significant digits, real minus and superscripts), scales and ticks.

const SUPERSCRIPT = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
export const DIVERGED = "발산";

export function powerOfTen(exponent) {
  return "10" + [...String(exponent)].map((c) => SUPERSCRIPT[c]).join("");
}

function grouped(text) {
  const [whole, fraction] = text.split(".");
  const spaced = whole.length > 3 ? whole.replace(/\B(?=(\d{3})+$)/g, ",") : whole;
  return fraction === undefined ? spaced : `${spaced}.${fraction}`;
}

function positive(value, trim) {
  if (Number.isInteger(value) && value < 1e7) return grouped(String(value));
  if (value >= 1e5 || value < 1e-3) {
    const [mantissa, exponent] = value.toExponential(2).split("e");
    const short = trim ? String(Number(mantissa)) : mantissa;
    const power = powerOfTen(Number(exponent));
    return trim && short === "1" ? power : `${short}×${power}`;
  }
  const digits = value.toPrecision(3);
  const plain = digits.includes("e") ? String(Number(digits)) : digits;
  return grouped(trim ? String(Number(plain)) : plain);
}

function signed(value, trim) {
  if (typeof value !== "number" || !Number.isFinite(value)) return DIVERGED;
  if (value === 0) return "0";
  return (value < 0 ? "−" : "") + positive(Math.abs(value), trim);
}

/** A measured value: three significant digits; what is not finite has diverged. */
export function num(value) {
  return signed(value, false);
}

/** A tick or a setting: as short as it can be. */
export function tick(value) {
  return signed(value, true);
}

/** "mean (smallest~largest)", without the bracket where there is one seed. */
export function withRange(mean, lo, hi, seeds) {
  if (mean === null) return DIVERGED;
  return seeds > 1 ? `${num(mean)} (${num(lo)}~${num(hi)})` : num(mean);
}

function niceStep(span, count) {
  const rough = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const unit = rough / power;
  return (unit <= 1 ? 1 : unit <= 2 ? 2 : unit <= 5 ? 5 : 10) * power;
}

/** The nice interval around [lo, hi] on a linear or log axis. */
export function niceDomain(lo, hi, log, count = 5) {
  if (log) {
    if (!(hi > 0)) return [0.1, 1];
    const floor = Math.max(lo > 0 ? lo : hi, hi * 1e-12);
    const wide = Math.log10(hi / floor) > 1.2;
    const edge = (value, up) => {
      const power = 10 ** Math.floor(Math.log10(value) + 1e-9);
      const steps = wide ? [1, 10] : [1, 2, 5, 10];
      const near = up
        ? steps.find((s) => s * power >= value * (1 - 1e-9))
        : steps.findLast((s) => s * power <= value * (1 + 1e-9));
      return near * power;
    };
    const low = edge(floor, false);
    const high = edge(hi, true);
    return low < high ? [low, high] : [low / 2, high * 2];
  }
  if (!(hi > lo)) return lo === 0 ? [0, 1] : [Math.min(0, lo * 2), Math.max(0, lo * 2)];
  const low = lo >= 0 && lo < hi * 0.6 ? 0 : lo;
  const high = hi <= 0 && hi > low * 0.6 ? 0 : hi;
  const step = niceStep(high - low, count);
  return [Math.floor(low / step + 1e-9) * step, Math.ceil(high / step - 1e-9) * step];
}

/** Ticks of a nice domain: [{value, text}]; a power of ten also has its exponent, {value, text, power}. */
export function ticksOf([lo, hi], log, count = 5) {
  if (!log) {
    const step = niceStep(hi - lo, count);
    const first = Math.ceil(lo / step - 1e-9);
    const last = Math.floor(hi / step + 1e-9);
    return Array.from({ length: last - first + 1 }, (_, i) => {
      const value = Number(((first + i) * step).toPrecision(12));
      return { value, text: tick(value) };
    });
  }
  const low = Math.ceil(Math.log10(lo) - 1e-9);
  const high = Math.floor(Math.log10(hi) + 1e-9);
  if (high - low >= 2) {
    const stride = Math.ceil((high - low + 1) / Math.max(2, count + 1));
    const powers = [];
    for (let e = low; e <= high; e += stride) powers.push({ value: 10 ** e, text: powerOfTen(e), power: e });
    return powers;
  }
  const ticks = [];
  for (let e = low - 1; e <= high; e += 1) {
    for (const m of [1, 2, 5]) {
      const value = Number((m * 10 ** e).toPrecision(12));
      if (value >= lo * (1 - 1e-9) && value <= hi * (1 + 1e-9)) ticks.push({ value, text: tick(value) });
    }
  }
  return ticks;
}

/** Value → pixel. On a log axis what is not positive lies on the axis. */
export function scaleOf([lo, hi], [from, to], log) {
  if (log) {
    const base = Math.log(lo);
    const k = (to - from) / (Math.log(hi) - base);
    return (v) => (v > lo ? from + (Math.log(v) - base) * k : from);
  }
  const k = (to - from) / (hi - lo);
  return (v) => from + (v - lo) * k;
}

/** Running extent of numbers; `low` is the smallest positive one when the axis is logarithmic. */
export class Extent {
  constructor() {
    this.min = Infinity;
    this.max = -Infinity;
    this.positive = Infinity;
  }

  add(value) {
    if (typeof value !== "number" || !Number.isFinite(value)) return;
    if (value < this.min) this.min = value;
    if (value > this.max) this.max = value;
    if (value > 0 && value < this.positive) this.positive = value;
  }

  merge(other) {
    this.min = Math.min(this.min, other.min);
    this.max = Math.max(this.max, other.max);
    this.positive = Math.min(this.positive, other.positive);
  }

  get empty() {
    return this.min > this.max;
  }

  low(log) {
    return log ? this.positive : this.min;
  }
}

/** How long a training took. */
export function took(seconds) {
  if (seconds < 0.1) return "0.1초 미만";
  return seconds < 10 ? `${seconds.toFixed(1)}초` : `${Math.round(seconds)}초`;
}
