// The course map with the reader's own progress, and on a lesson the note that it was read to its end. All of it is kept in this
// browser and nowhere else; a file carries it to another browser, or from `residual-lab progress --export` and back.

const PREFIX = "residual-lab/";
const KEY = /^(read|predictions|quizzes|tasks)\/[\w-]+$/;
const FORMAT = 1;

/** Everything kept, by key: lists of {value, at}, oldest first. */
function keptRecords() {
  const kept = {};
  for (const name of storedNames()) {
    const key = name.startsWith(PREFIX) ? name.slice(PREFIX.length) : "";
    if (!KEY.test(key)) continue;
    try {
      const entries = JSON.parse(localStorage.getItem(name));
      if (isHistory(entries)) kept[key] = entries;
    } catch {
      // another page has spoilt it
    }
  }
  return kept;
}

function storedNames() {
  try {
    return Object.keys(localStorage);
  } catch {
    return []; // storage is forbidden here
  }
}

function isHistory(entries) {
  return Array.isArray(entries) && entries.every((entry) => entry && "value" in entry && typeof entry.at === "string");
}

function keep(key, entries) {
  localStorage.setItem(PREFIX + key, JSON.stringify(entries));
}

/** Add what a file has and is not here yet; how many entries that were. */
function merge(text) {
  const {format, records} = JSON.parse(text);
  if (format !== FORMAT || !Object.entries(records).every(([key, entries]) => KEY.test(key) && isHistory(entries))) throw new Error("not a progress file");
  const kept = keptRecords();
  let added = 0;
  for (const [key, entries] of Object.entries(records)) {
    const known = new Set((kept[key] ?? []).map((entry) => JSON.stringify(entry)));
    const fresh = entries.filter((entry) => !known.has(JSON.stringify(entry)));
    added += fresh.length;
    if (fresh.length) keep(key, [...(kept[key] ?? []), ...fresh].sort((one, other) => (one.at < other.at ? -1 : 1)));
  }
  return added;
}

function done(lesson, kept) {
  const values = (key) => (kept[key] ?? []).map((entry) => entry.value);
  const chosen = values(lesson.quiz);
  return {
    read: values(lesson.read).length > 0,
    predictions: lesson.predictions.filter((key) => kept[key]).length,
    answers: Object.entries(lesson.answers).filter(([id, text]) => chosen.some((value) => value?.question === id && value.choice === text)).length,
    tasks: lesson.tasks.filter((key) => kept[key]).length,
  };
}

function element(name, properties, ...inside) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...inside);
  return made;
}

function badges(words) {
  return element("span", {className: "course-done"}, ...words.map((word) => element("span", {}, word)));
}

/** Below each lesson's link what was read, predicted and answered, below its exercise's the tasks solved elsewhere. */
function drawRows(lessons, kept) {
  for (const old of document.querySelectorAll(".course-done")) old.remove();
  for (const lesson of lessons) {
    const have = done(lesson, kept);
    const said = [
      have.read && "읽음",
      have.predictions && `예측 ${have.predictions}/${lesson.predictions.length}`,
      have.answers && `퀴즈 ${have.answers}/${Object.keys(lesson.answers).length}`,
    ].filter(Boolean);
    const place = (folder) => document.querySelector(`article td a[href$="${folder}/${lesson.name}.html"]`)?.closest("td");
    if (said.length) place("lessons")?.append(badges(said));
    if (have.tasks) place("exercises")?.append(badges([`과제 ${have.tasks}/${lesson.tasks.length}`]));
  }
}

function sum(lessons, kept) {
  const all = lessons.map((lesson) => done(lesson, kept));
  const count = (name) => all.reduce((so, have) => so + Number(have[name]), 0);
  if (!Object.keys(kept).length) return "아직 기록이 없습니다. 레슨을 읽고 예측하고 답하면 여기에 나타납니다.";
  return `레슨 ${lessons.length}개 가운데 ${count("read")}개를 끝까지 읽고, 예측을 ${count("predictions")}개 하고, ` +
    `퀴즈를 ${count("answers")}문제 맞히고, 과제를 ${count("tasks")}개 풀었습니다.`;
}

function download() {
  const text = JSON.stringify({format: FORMAT, records: keptRecords()}, null, 1);
  const link = element("a", {href: URL.createObjectURL(new Blob([text], {type: "application/json"})), download: "residual-lab-progress.json"});
  link.click();
  URL.revokeObjectURL(link.href);
}

function clear() {
  if (!confirm("이 브라우저에 남은 예측과 답을 모두 지울까요? 되돌릴 수 없습니다. 남겨 두려면 먼저 내보내십시오.")) return;
  for (const key of Object.keys(keptRecords())) localStorage.removeItem(PREFIX + key);
}

function showMap(lessons) {
  const said = element("p", {className: "course-sum"});
  const told = element("p", {className: "course-told"});
  told.setAttribute("role", "status");
  const draw = () => {
    const kept = keptRecords();
    drawRows(lessons, kept);
    said.textContent = sum(lessons, kept);
  };
  const file = element("input", {type: "file", accept: ".json,application/json", hidden: true});
  file.addEventListener("change", async () => {
    try {
      told.textContent = `새 기록 ${merge(await file.files[0].text())}개를 가져왔습니다.`;
    } catch (error) {
      told.textContent = error.name === "QuotaExceededError" || error.name === "SecurityError"
        ? "이 브라우저에는 저장할 수 없습니다."
        : "이 과정의 기록 파일이 아니어서 가져오지 않았습니다.";
    }
    file.value = "";
    draw();
  });
  const button = (word, press) => {
    const made = element("button", {type: "button"}, word);
    made.addEventListener("click", () => {
      told.textContent = "";
      press();
      draw();
    });
    return made;
  };
  const section = element(
    "section",
    {className: "course-progress"},
    element("h3", {}, "내 기록"),
    said,
    element("p", {className: "course-note"}, "기록은 이 브라우저에만 있고 어디로도 보내지 않습니다. 노트북에서 한 것은 ", element("code", {}, "residual-lab progress --export"),
      "로 내보낸 파일을 가져오면 더해집니다."),
    element("div", {className: "course-buttons"}, button("파일로 내보내기", download), button("파일에서 가져오기", () => file.click()), button("모두 지우기", clear), file),
    told,
  );
  const table = document.querySelector("article table");
  (table.closest(".pst-scrollable-table-container") ?? table).after(section);
  draw();
  addEventListener("storage", draw);
  addEventListener("pageshow", draw); // back from a lesson, the page may not be loaded anew
}

/** A lesson is read when its end has been seen. */
function noteReading(lesson) {
  const end = document.querySelector(".prev-next-area");
  const watcher = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    watcher.disconnect();
    try {
      if (!localStorage.getItem(PREFIX + lesson)) keep(lesson, [{value: "end", at: new Date().toISOString()}]);
    } catch {
      // it cannot be kept here: nothing to tell a reader
    }
  });
  if (end) watcher.observe(end);
}

const map = document.getElementById("course-lessons");
if (map) showMap(JSON.parse(map.textContent));
else noteReading(`read/${location.pathname.split("/").at(-1).replace(/\.html$/, "")}`);
