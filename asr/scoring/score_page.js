"use strict";

// The data of the page -> rates, charts and frequent errors. score_page_utterances.js follows this
// file, in the same script.

const data = JSON.parse(document.getElementById("data").textContent);
const systems = data.systems;
const several = systems.length > 1;
const KINDS = ["substitution", "deletion", "insertion"];
const MARKS = { substitution: "S", deletion: "D", insertion: "I" };
const RIGHT_TO_LEFT = /^[^A-Za-z\u00c0-\u02b8]*[\u0591-\u08ff\ufb1d-\ufdfd\ufe70-\ufefc]/;
const get = id => document.getElementById(id);

/** Append a new element with a class and a text, both optional. */
function add(parent, tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

/** A rate as `asr score` prints it: two digits, and ties to the even one as in Python. */
function percent(rate) {
  if (rate === null) return "infinite";
  const size = Math.abs(100 * rate);
  const isTieToRoundDown = (size * 8) % 4 === 1; // .125 and .625
  return (rate < 0 ? "-" : "") + (isTieToRoundDown ? size - 0.005 : size).toFixed(2);
}

const interval = of => of.utterances === 1 ? "" : `${percent(of.wer_low)} to ${percent(of.wer_high)}`;
const plural = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

// an item of an alignment is a word that was recognised, or the pair of an error
const isError = item => typeof item !== "string";
const pairOf = item => isError(item) ? item : [item, item];
const kindOf = ([said, heard]) => said === "" ? "insertion" : heard === "" ? "deletion" : "substitution";

/** The errors of an alignment by kind, its rate, and both texts in lower case. */
function count(alignment) {
  const counts = { substitution: 0, deletion: 0, insertion: 0, words: 0 };
  let [reference, hypothesis] = ["", ""];
  for (const item of alignment) {
    const [said, heard] = pairOf(item);
    if (said) {
      counts.words += 1;
      reference += ` ${said}`;
    }
    if (heard) hypothesis += ` ${heard}`;
    if (isError(item)) counts[kindOf(item)] += 1;
  }
  counts.errors = counts.substitution + counts.deletion + counts.insertion;
  counts.wer = counts.words ? counts.errors / counts.words : counts.errors ? Infinity : 0;
  counts.searched = `${reference}\n${hypothesis}`.toLowerCase();
  return counts;
}

data.utterances.forEach((utterance, place) => {
  utterance.place = place;
  utterance.counts = utterance.alignments.map(count);
  utterance.searched = [
    `${utterance.id} ${utterance.group}`.toLowerCase(),
    ...utterance.counts.map(counts => counts.searched),
  ].join("\n");
});

// what the reader has chosen
const chosen = { system: 0, text: "", group: null, length: null, confusion: null };

/** The label of each filter's value. */
const NAMES = {
  group: value => value || "(empty)",
  length: value => `${value} ${value === "1" ? "word" : "words"}`,
  confusion: value => value.split("\n").map(word => word || "\u2205").join(" \u2192 "),
};

// ---- rates

const letterOf = system => String.fromCharCode(65 + system % 26);

function letter(parent, system) {
  return add(parent, "span", `letter bar${system % 4}`, letterOf(system));
}

/** A rate as a bar, with a line for its interval, on an axis from 0 to `most`. */
function drawBar(parent, values, most, system) {
  const x = rate => (100 * Math.min(1, rate / most)).toFixed(2);
  const line = (x1, x2, y1, y2, name = "") =>
    `<line class="${name}" x1="${x1}" x2="${x2}" y1="${y1}" y2="${y2}"/>`;
  let drawn = line(0, 100, 11.5, 11.5, "axis");
  if (values.wer !== null) {
    drawn += `<rect class="bar${system % 4}" y="1" width="${x(values.wer)}" height="10"/>`;
    if (values.utterances > 1) {
      const [low, high] = [values.wer_low, values.wer_high ?? most].map(x);
      drawn += line(low, high, 6, 6) + line(low, low, 3, 9) + line(high, high, 3, 9);
    }
  }
  parent.insertAdjacentHTML("beforeend",
    `<svg viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">${drawn}</svg>`);
}

/** The end of an axis: the largest rate, and intervals as far as they are at most half longer. */
function endOfAxis(values) {
  const rates = values.map(each => each.wer ?? 0);
  const highest = Math.max(...values.map(each => each.wer_high ?? 0));
  return Math.max(Math.min(highest, 1.5 * Math.max(...rates)), 1e-9);
}

function showSystems() {
  const titles = ["WER %", "95 % interval", "", "CER %", "SER %", "S", "D", "I"];
  if (several) titles.push("gain, points", "p");
  const head = add(add(get("systems"), "thead"), "tr");
  for (const title of ["system", ...titles]) add(head, "th", "", title);
  const body = add(get("systems"), "tbody");
  const most = endOfAxis(systems);
  systems.forEach((system, number) => {
    const row = add(body, "tr");
    const name = add(row, "td", "name");
    if (several) letter(name, number);
    name.append(system.name);
    const cell = (title, text, style = "") => {
      add(row, "td", `number ${style}`, text).dataset.title = title;
    };
    cell("WER %", percent(system.wer), "wer");
    cell("95 %", interval(system));
    drawBar(add(row, "td", "interval"), system, most, number);
    cell("CER %", percent(system.cer));
    cell("SER %", percent(system.sentence_error_rate));
    for (const kind of KINDS) cell(MARKS[kind], system[`${kind}s`]);
    if (several) {
      const hasGain = system.p !== null && system.gain !== null;
      cell("gain", hasGain ? `${percent(system.gain)} (${gains(system)})` : "");
      cell("p", system.p === null ? "" : system.p.toFixed(4));
    }
  });
  const notes = [...data.notes];
  if (several) {
    notes.unshift(
      `Gains are over ${systems[0].name}, with their 95 % intervals; p is two-sided, from a paired test.`,
    );
  }
  if (systems.slice(1).some(system => system.p === null)) {
    notes.unshift("No p if systems fit alternatives of the references with other numbers of words.");
  }
  for (const note of notes) add(get("notes"), "li", "", note);
  const first = systems[0];
  get("facts").textContent = `${plural(first.utterances, "utterance")}, ${plural(first.words, "word")},`
    + ` paired by ${first.paired_by}`;
}

const gains = of => `${percent(of.gain_low)} to ${percent(of.gain_high)}`;

// ---- charts

const highestFirst = (one, other) => one === other ? 0 : other - one; // both may be infinite
const byName = new Intl.Collator("en", { numeric: true });
const charts = []; // functions that draw them again
const ORDERS = {
  "most errors": () => 0, // as given
  "highest WER": (one, other) => highestFirst(one.wer ?? Infinity, other.wer ?? Infinity),
  name: (one, other) => byName.compare(one.group, other.group),
  length: (one, other) => byName.compare(one.group, other.group),
};

/** A chart of the systems' groups in `list`; a click on a row filters the utterances. */
function showChart(title, list, filter, orders) {
  const section = add(get("charts"), "section");
  const heading = add(section, "div", "heading");
  add(heading, "h2", "", title);
  const select = add(add(heading, "label", "", "sorted by "), "select");
  for (const order of orders) add(select, "option", "", order);
  const rows = add(section, "div", "rows");
  const named = systems.map(system => new Map(system[list].map(each => [each.group, each])));
  const most = endOfAxis(systems.flatMap(system => system[list]));
  const show = () => {
    rows.replaceChildren();
    const groups = [...systems[chosen.system][list]].sort(ORDERS[select.value]);
    for (const { group, utterances, words } of groups) {
      const row = add(rows, "button", "bar");
      row.type = "button";
      const name = add(row, "span");
      add(name, "bdi", "", NAMES[filter](group));
      add(name, "small", "", `${plural(utterances, "utterance")}, ${plural(words, "word")}`);
      const bars = add(row, "span");
      named.forEach((of, number) => {
        const measure = add(bars, "span", "measure");
        drawBar(measure, of.get(group), most, number);
        const text = add(measure, "span", "number");
        if (several) letter(text, number);
        text.append(percent(of.get(group).wer));
        add(text, "span", "faint", interval(of.get(group)) && ` (${interval(of.get(group))})`);
      });
      toggles(row, filter, group);
    }
  };
  select.onchange = show;
  charts.push(show);
  show();
}

/** Make a button choose a value of a filter, or undo the choice. */
function toggles(button, filter, value) {
  button.dataset.filter = filter;
  button.dataset.value = value;
  button.setAttribute("aria-pressed", chosen[filter] === value);
  button.onclick = () => {
    chosen[filter] = chosen[filter] === value ? null : value;
    choose();
    if (chosen[filter] === null) return;
    get("utterances").scrollIntoView();
    get("found").focus({ preventScroll: true });
  };
}

// ---- frequent errors

const SHOWN_CONFUSIONS = 100;
const keyOf = ([said, heard]) => `${said}\n${heard}`; // words have no white space

function showConfusions() {
  const times = new Map();
  for (const utterance of data.utterances) {
    for (const item of utterance.alignments[chosen.system]) {
      if (!isError(item)) continue;
      const known = times.get(keyOf(item));
      if (known) known.times += 1; else times.set(keyOf(item), { item, times: 1 });
    }
  }
  const sorted = [...times.values()].sort(
    (one, other) => other.times - one.times || (keyOf(one.item) < keyOf(other.item) ? -1 : 1),
  );
  get("confusions").replaceChildren();
  for (const kind of KINDS) {
    const found = sorted.filter(each => kindOf(each.item) === kind);
    const column = add(get("confusions"), "div");
    const total = found.reduce((sum, each) => sum + each.times, 0);
    const heading = add(column, "h3");
    if (several) letter(heading, chosen.system);
    heading.append(`${plural(total, kind)}, ${found.length.toLocaleString("en")} different`);
    const rows = add(column, "div", "rows");
    for (const { item, times } of found.slice(0, SHOWN_CONFUSIONS)) {
      const row = add(rows, "button", "confusion");
      row.type = "button";
      add(row, "span", "number", times);
      const pair = add(row, "span");
      if (item[0]) add(pair, "bdi", "", item[0]);
      if (kind === "substitution") pair.append(" \u2192 ");
      if (item[1]) add(pair, "bdi", "", item[1]);
      toggles(row, "confusion", keyOf(item));
    }
    if (found.length > SHOWN_CONFUSIONS) add(rows, "p", "faint", `the first ${SHOWN_CONFUSIONS}`);
  }
}
