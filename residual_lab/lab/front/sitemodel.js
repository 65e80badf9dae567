// The part of anywidget's model that the views use, for pages without a kernel.

export class SiteModel {
  constructor(attributes) {
    this.attributes = attributes;
    this.listeners = new Map();
  }

  get(name) {
    return this.attributes[name];
  }

  set(name, value) {
    this.attributes[name] = value;
    this.trigger(`change:${name}`);
  }

  save_changes() {}

  send() {}

  on(event, callback) {
    if (!this.listeners.has(event)) this.listeners.set(event, new Set());
    this.listeners.get(event).add(callback);
  }

  off(event, callback) {
    if (callback) this.listeners.get(event)?.delete(callback);
    else this.listeners.delete(event);
  }

  trigger(event, ...details) {
    for (const callback of [...(this.listeners.get(event) ?? [])]) callback(...details);
  }
}

// What a learner commits to on the site: it is kept in this browser only, and all that show it hear of it.
export class KeptModel extends SiteModel {
  static all = new Set();

  constructor(spec) {
    super({spec});
    this.session = []; // what could not be stored
    this.notices = [];
    KeptModel.all.add(this);
  }

  get key() {
    return `residual-lab/${this.get("spec").store}`;
  }

  send({type, value}) {
    if (type === "commit") this.keep({value, at: new Date().toISOString()});
    for (const model of type === "commit" ? KeptModel.all : [this]) if (model.key === this.key) model.tell();
  }

  history() {
    try {
      return [...JSON.parse(localStorage.getItem(this.key) ?? "[]"), ...this.session];
    } catch {
      return this.session; // storage is forbidden here, or another page has spoilt it
    }
  }

  keep(entry) {
    try {
      localStorage.setItem(this.key, JSON.stringify([...this.history(), entry]));
      this.session = [];
    } catch {
      this.session.push(entry);
      this.notices.push("이 브라우저에는 저장할 수 없어, 페이지를 닫으면 답이 사라집니다.");
    }
  }

  tell() {
    const history = this.history();
    const message = {type: "committed", value: history.at(-1)?.value ?? null, history, notices: this.notices.splice(0)};
    setTimeout(() => this.trigger("msg:custom", message, []), 0);
  }
}
