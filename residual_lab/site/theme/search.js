; // Sphinx's stemmer before this ends without one

// The query's grams: of a run of Hangul every pair of syllables, without a particle at its end.
function splitQuery(query) {
  const particle = /(?:PARTICLES)$/;
  return (query.match(/[가-힣]+|[\p{L}\p{N}_]+/gu) || []).flatMap((run) => {
    if (!/[가-힣]/.test(run)) return [run];
    const word = run.length > 2 ? run.replace(particle, "") : run;
    if (word.length === 1) return [word];
    return Array.from({length: word.length - 1}, (_, i) => word.slice(i, i + 2));
  });
}

// In place of Sphinx's: a page must have every word; a rare word counts more than a common one, in a heading more than in the text.
if (typeof Search !== "undefined") Search.performTermsSearch = (words, excluded) => {
  const {terms, titleterms, docnames, titles, filenames} = Search._index;
  const pages = (table, word) => (Object.hasOwn(table, word) ? [table[word]].flat() : []);
  const near = (table, word) => Object.keys(table).filter((term) => term.startsWith(word)).flatMap((term) => pages(table, term));
  const lookUp = (table, word) => {
    const exact = pages(table, word);
    return new Set(exact.length || word.length < 3 ? exact : near(table, word));
  };
  const found = new Map();
  let most = 0;
  for (const word of words) {
    const headed = lookUp(titleterms, word);
    const all = new Set([...headed, ...lookUp(terms, word)]);
    const rarity = Math.log(1 + docnames.length / Math.max(all.size, 1));
    most += rarity;
    for (const page of all) {
      const before = found.get(page) ?? {words: 0, score: 0};
      found.set(page, {words: before.words + 1, score: before.score + rarity * (headed.has(page) ? 3 : 1)});
    }
  }
  const weight = (name) => (name.startsWith("lessons/") ? 1.5 : name.startsWith("exercises/") ? 1.2 : 1); // a lesson teaches it, a list names it
  const unwanted = new Set([...excluded].flatMap((word) => [...lookUp(terms, word), ...lookUp(titleterms, word)]));
  return [...found]
    .filter(([page, of]) => of.words === words.size && !unwanted.has(page))
    .map(([page, of]) => [docnames[page], titles[page], "", null, ((5 * of.score) / most) * weight(docnames[page]), filenames[page]]);
};

// A page that is called what was asked for comes first, before the sections of that name.
if (typeof Search !== "undefined") {
  let asked = "";
  const parse = Search._parseQuery;
  Search._parseQuery = (query) => {
    asked = query.trim().toLowerCase();
    return parse(query);
  };
  Scorer.score = ([, title, , , score]) => score + (title.toLowerCase() === asked ? 20 : 0);
}

// What is shown of a page: its article, without the buttons above it.
if (typeof Search !== "undefined") {
  const ofPlace = Search.htmlToText;
  Search.htmlToText = (html, anchor) => {
    if (anchor) return ofPlace(html, anchor);
    const article = new DOMParser().parseFromString(html, "text/html").querySelector("article");
    for (const part of article?.querySelectorAll("script, style, .headerlink, h1, form, .toctree-wrapper") ?? []) part.remove();
    return article?.textContent.trim().replace(/\s+/g, " ") ?? "";
  };
}
