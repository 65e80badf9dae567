// The claims ledger's filter. Without this script every card is there; with it, those that were asked for.

const form = document.getElementById("claim-filter");
const found = form.querySelector("[role=status]");
const cards = [...document.querySelectorAll("article.claim")].map((card) => ({card, text: plain(card.textContent)}));
const sections = [...document.querySelectorAll("section")].filter((section) => section.querySelector(":scope > article.claim"));

function plain(text) {
  return text.normalize("NFC").toLowerCase().replace(/\s+/g, " ");
}

function wish() {
  const chosen = new FormData(form);
  return {
    words: plain(chosen.get("words")).split(" ").filter(Boolean),
    verdicts: new Set(chosen.getAll("verdict")),
    lesson: chosen.get("lesson"),
    shown: chosen.get("shown"),
  };
}

function fits({card, text}, {words, verdicts, lesson, shown}) {
  const {dataset} = card;
  if (!verdicts.has(dataset.verdict) || (lesson && dataset.lesson !== lesson)) return false;
  if (shown && !dataset.shown.split(" ").includes(shown)) return false;
  return words.every((word) => text.includes(word));
}

function show() {
  const wished = wish();
  let count = 0;
  for (const each of cards) {
    each.card.hidden = !fits(each, wished);
    count += !each.card.hidden;
  }
  for (const section of sections) section.hidden = !section.querySelector(":scope > article.claim:not([hidden])");
  found.textContent = count ? `문장 ${count}개` : "맞는 문장이 없습니다. 조건을 줄여 보십시오.";
}

// What was asked for stays in the address, so that it can be sent to somebody.
function remember() {
  const asked = new URLSearchParams([...new FormData(form)].filter(([name, value]) => value && name !== "verdict"));
  const verdicts = new FormData(form).getAll("verdict");
  if (verdicts.length < 4) asked.set("verdict", verdicts.join("."));
  history.replaceState(null, "", `${location.pathname}${asked.size ? `?${asked}` : ""}${location.hash}`);
}

function recall() {
  const asked = new URLSearchParams(location.search);
  for (const name of ["words", "lesson", "shown"]) form.elements[name].value = asked.get(name) ?? "";
  if (!asked.has("verdict")) return;
  const verdicts = asked.get("verdict").split(".");
  for (const box of form.elements.verdict) box.checked = verdicts.includes(box.value);
}

// A link to one statement shows it whatever is asked for.
function reach() {
  const card = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!card?.hidden) return;
  form.reset();
  show();
  card.scrollIntoView();
}

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", () => {
  show();
  remember();
});
form.addEventListener("reset", () => setTimeout(() => {
  show();
  remember();
}));
addEventListener("hashchange", reach);
recall();
form.hidden = false;
show();
reach();
