// How many slices to keep asked for and how long they should be, from the answers' delays; and how fast the run goes on.
// Never more than three are owed, so that a press is obeyed within three slices. Each is shown in two pictures: a request costs
// JupyterLab's kernel more than a picture does.

const TAU = 0.2;
const PICTURES = 2; // of a slice
const SHORTEST_MS = 110; // 17 pictures a second
const LONGEST_MS = 200;

export class Pace {
  constructor() {
    this.asked = new Map(); // n → {sent, trained, owed}
    this.trained = 0; // ms that the host has spent training
    this.link = 30; // estimated round trip without training, ms
    this.forgetSpeed();
  }

  /** Pictures that were asked for and have not come. */
  get owed() {
    let owed = 0;
    for (const request of this.asked.values()) owed += request.owed;
    return owed;
  }

  get due() {
    return this.owed <= this.ahead * PICTURES;
  }

  /** So many slices are still owed when the next request goes out. */
  get ahead() {
    return this.link > 60 ? 2 : 1;
  }

  /** Pictures of one request: two slices where the link allows it. */
  get frames() {
    return (3 - this.ahead) * PICTURES;
  }

  /** How long to train for a picture: slices as long as the link needs to stay busy. */
  get frameMs() {
    return Math.round(Math.min(LONGEST_MS, Math.max(SHORTEST_MS, this.link / this.ahead)) / PICTURES);
  }

  ask(n, frames) {
    this.asked.set(n, { sent: performance.now(), trained: this.trained, owed: frames });
  }

  /** A picture of request n took the host ms of training, and so many more will come: what is left of the delay is the link. */
  answered(n, ms, more) {
    this.trained += ms;
    const request = this.asked.get(n);
    if (request === undefined) return;
    request.owed = more;
    if (more === 0) this.asked.delete(n);
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
