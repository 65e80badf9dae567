// The site's host: finds what the notebooks' stored outputs left for it on a page and brings it to life without a kernel.

import {node, setText} from "./dom.js";
import {took} from "./numbers.js";
import {RecordedLab} from "./recorded.js";
import {KeptModel} from "./sitemodel.js";

const VIEW_OF = {lab: "lab", quiz: "quiz", predict: "predict", check: "predict"};
const TROUBLE = "이 부분을 불러오지 못해 멈춘 그림만 보여 드립니다. 인터넷 연결을 확인하고 페이지를 새로 고쳐 주십시오.";

function place(name) {
  return new URL(name, import.meta.url).href;
}

function needStyle(view) {
  const href = place(`${view}.css`);
  if (document.querySelector(`link[href="${href}"]`)) return;
  document.head.append(node("link", {rel: "stylesheet", href}));
}

async function fetchJson(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${response.status} ${url}`);
  return response.json();
}

function paceText(record, pace) {
  const how = pace === 1 ? "같은 빠르기로 보여 드립니다." : `${Number(pace.toFixed(1))}배속으로 보여 드립니다.`;
  return `이 설정을 CPU에서 학습한 시간은 ${took(record.seconds)}이며, ${how}`;
}

async function labModel(mount, note) {
  const recording = await fetchJson(place(`recordings/${mount.dataset.src}.json`));
  const wished = JSON.parse(mount.dataset.values ?? "{}");
  setText(note, "기록해 둔 설정만 고를 수 있습니다. 다른 설정은 노트북(Colab, JupyterLab)에서 직접 학습해 보십시오.");
  return new RecordedLab(recording, wished, (record, pace) => setText(note, paceText(record, pace)));
}

// Show the living view in place of the still picture; when anything fails the picture stays, and says why.
async function bring(mount) {
  const kind = mount.dataset.kind;
  const still = [...mount.childNodes];
  const note = node("p", {class: "residual-lab-note"});
  const el = node("div");
  try {
    needStyle(VIEW_OF[kind]);
    const {default: view} = await import(place(`${VIEW_OF[kind]}.mjs`));
    const model = kind === "lab" ? await labModel(mount, note) : new KeptModel(JSON.parse(mount.dataset.spec));
    await view.initialize?.({model});
    mount.append(el);
    await view.render({model, el});
    if (kind === "lab") mount.append(note);
    for (const part of still) part.remove();
    mount.dataset.alive = "";
  } catch (error) {
    console.error(error);
    el.remove();
    mount.append(node("p", {class: "residual-lab-problem"}, TROUBLE));
  }
}

export function start() {
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const {isIntersecting, target} of entries) {
        if (!isIntersecting) continue;
        watcher.unobserve(target);
        bring(target);
      }
    },
    {rootMargin: "400px"},
  );
  const meant = new URLSearchParams(location.hash.slice(1)).get("lab"); // a link that carries a lab's settings
  for (const mount of document.querySelectorAll(".residual-lab-mount")) {
    if (mount.dataset.kind === "lab" && mount.dataset.src === meant) bring(mount);
    else watcher.observe(mount);
  }
}

start();
