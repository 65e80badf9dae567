// What the lab says: settings, state, progress and the summary for screen readers.

import {UNANSWERED} from "./hearing.js";
import {num, took, withRange, DIVERGED} from "./numbers.js";
import {valueText} from "./controls.js";
import {statsOf} from "./lines.js";
import {pinNumber} from "./plot.js";

export function settingsText(spec, values) {
  return spec.knobs.map((knob) => `${knob.label} ${valueText(knob, values[knob.name])}`).join(" · ");
}

export function progressText(client) {
  const { run } = client;
  if (run === null || !run.at) return "";
  const steps = run.total ? `단계 ${num(run.step)}/${num(run.total)}` : `단계 ${num(run.step)}`;
  const left = client.secondsLeft();
  if (left !== null) return `${steps} · ${left < 1.5 ? "곧 끝납니다" : `약 ${Math.round(left)}초 남음`}`;
  return run.done && !client.recorded ? `${steps} · 학습 ${took(run.seconds)}` : steps;
}

export function stateText(client) {
  if (client.lost) return "답을 기다리는 중";
  if (client.following) return "다른 창에서 학습 중";
  const running = client.recorded ? "재생 중" : "학습 중";
  return { idle: "준비됨", running, paused: "일시정지", done: "끝남", stopped: "정지함", error: "오류로 멈춤" }[client.phase];
}

/** The notice to show above the charts: {tone, text}, or null. */
export function notice(client) {
  if (client.lost) {
    if (client.recorded) return { tone: "bad", text: "기록을 재생하지 못하고 있습니다. 페이지를 다시 여십시오." };
    return { tone: "warn", text: UNANSWERED };
  }
  if (client.following) return { tone: "warn", text: "다른 창에서 학습 중입니다. ‘계속’을 누르면 이 창에서 이어 가고, ‘시작’을 누르면 새로 시작합니다." };
  if (client.phase === "error") return { tone: "bad", text: client.reason };
  if (client.reason) return { tone: "warn", text: client.reason };
  return null;
}

/** Last values of every curve of a run, panel by panel; of a lab without curves, the rows of its tables. */
function finals(spec, run) {
  if (!Object.keys(run.curves).length) {
    return spec.panels.filter((panel) => run.tables[panel.key]).map((panel) => {
      const rows = run.tables[panel.key].map((row) => row.map((cell, i) => `${panel.columns[i]} ${typeof cell === "string" ? cell : num(cell)}`).join(", "));
      return `${panel.title}: ${rows.join("; ")}.`;
    });
  }
  return spec.panels.filter((panel) => panel.kind === "lines").flatMap((panel) => {
    const curves = run.curves[panel.key] ?? {};
    const values = panel.series.filter((s) => curves[s.key]?.x.length).map((s) => {
      const stats = statsOf(curves[s.key]);
      const last = stats.mean.length - 1;
      const lost = stats.diverged && stats.mean[last] !== null ? `, 시드 ${stats.diverged}개 ${DIVERGED}` : "";
      return `${s.label} ${withRange(stats.mean[last], stats.lo[last], stats.hi[last], stats.seeds)}${lost}`;
    });
    return values.length ? [`${panel.title}: ${values.join(", ")}.`] : [];
  });
}

/** What a screen reader hears when a run ends, stops, fails or is pinned. */
export function summaryText(client, what) {
  const { spec, run } = client;
  const told = notice(client);
  if (told && what !== "pinned") return told.text;
  if (run === null || !run.at) return "";
  const begin = {
    done: client.recorded ? "재생이 끝났습니다." : "학습이 끝났습니다.",
    stopped: "정지했습니다.",
    pinned: `${pinNumber(client.pins.length - 1)}번으로 고정했습니다.`,
  }[what];
  const seeds = Math.max(0, ...Object.values(run.curves).flatMap((panel) => Object.values(panel).map((line) => line.y[0]?.length ?? 0)));
  const spread = seeds > 1 ? ` 값은 시드 ${seeds}개의 평균이고 괄호 안은 최솟값~최댓값입니다.` : "";
  return `${begin} 설정: ${settingsText(spec, run.values)}. ${num(run.step)}단계. ${finals(spec, run).join(" ")}${spread}`;
}

/** Where the recording comes from. */
export function provenanceText(recording) {
  const { torch, python, seeds } = recording?.provenance ?? {};
  const parts = [torch && `torch ${torch}`, python && `Python ${python}`, seeds?.length && `시드 ${seeds.join(", ")}`];
  return parts.filter(Boolean).join(" · ");
}
