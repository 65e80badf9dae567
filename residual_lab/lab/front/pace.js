// How many slices to keep asked for and how long they should be, from the answers' delays; and how fast the run goes on.

const TAU = 0.2;
const SHORTEST_MS = 55; // 17 pictures a second; every slice costs a kernel 2 to 4 ms beside the training
const LONGEST_MS = 200;

export class Pace {
  constructor() {
    this.asked = new Map(); // n → {sent, trained}
    this.trained = 0; // ms that the host has spent training
    this.link = 30; // estimated round trip without training, ms
    this.forgetSpeed();
  }

  get inFlight() {
    return this.asked.size;
  }

  /** Two slices in flight, three on a slow link; a slice is as long as the link needs to stay busy. */
  get credits() {
    return this.link > 60 ? 3 : 2;
  }

  get sliceMs() {
    return Math.round(Math.min(LONGEST_MS, Math.max(SHORTEST_MS, this.link / (this.credits - 1))));
  }

  ask(n) {
    this.asked.set(n, { sent: performance.now(), trained: this.trained });
  }

  /** The host answered request n after training for ms: what is left of the delay is the link. */
  answered(n, ms) {
    this.trained += ms;
    const request = this.asked.get(n);
    if (request === undefined) return;
    this.asked.delete(n);
    const waited = performance.now() - request.sent - (this.trained - request.trained);
    this.link += TAU * (Math.min(1000, Math.max(0, waited)) - this.link);
  }

  forgetRequests() {
    this.asked.clear();
  }

  forgetSpeed() {
    this.last = null;
    this.rate = 0; // steps a second, as the learner sees them
  }

  moved(step) {
    const now = performance.now() / 1000;
    if (this.last === null || step < this.last.step) {
      this.last = { now, step };
    } else if (now - this.last.now > 0.25 && step > this.last.step) {
      const rate = (step - this.last.step) / (now - this.last.now);
      this.rate = this.rate ? 0.7 * this.rate + 0.3 * rate : rate;
      this.last = { now, step };
    }
  }
}
