"use strict";

// The data of the page -> tables, charts and the alignments of the utterances that are chosen.

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
  const value = 100 * rate;
  const isTieToRoundDown = (value * 8) % 4 === 1; // .125 and .625
  return (isTieToRoundDown ? value - 0.005 : value).toFixed(2);
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

/** How the value of each filter is called. */
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
    notes.unshift("No p where systems chose alternatives of the references with other numbers of words.");
  }
  for (const note of notes) add(get("notes"), "li", "", note);
  const first = systems[0];
  get("facts").textContent = `${plural(first.utterances, "utterance")}, ${plural(first.words, "word")},`
    + ` paired by ${first.paired_by}`;
}

const gains = of => `${percent(of.gain_low)} to ${percent(of.gain_high)}`;

// ---- charts

const byName = new Intl.Collator("en", { numeric: true });
const charts = []; // functions that draw them again
const ORDERS = {
  "most errors": () => 0, // as given
  "highest WER": (one, other) => (other.wer ?? Infinity) - (one.wer ?? Infinity),
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

// ---- utterances

const mine = utterance => utterance.counts[chosen.system];
const SORTS = {
  "number of errors": (one, other) => mine(other).errors - mine(one).errors,
  WER: (one, other) => (mine(one).wer === mine(other).wer ? 0 : mine(other).wer - mine(one).wer),
  "words, longest first": (one, other) => mine(other).words - mine(one).words,
  "words, shortest first": (one, other) => mine(one).words - mine(other).words,
  id: (one, other) => byName.compare(one.id, other.id),
  "order of the file": (one, other) => one.place - other.place,
};
const SHOWS = { all: () => true, "with errors": utterance => mine(utterance).errors > 0 };
if (several) {
  const spread = utterance => {
    const errors = utterance.counts.map(counts => counts.errors);
    return Math.max(...errors) - Math.min(...errors);
  };
  SORTS["difference between systems"] = (one, other) => spread(other) - spread(one);
  SHOWS["systems differ"] = utterance => {
    const texts = utterance.alignments.map(alignment => JSON.stringify(alignment));
    return texts.some(text => text !== texts[0]);
  };
}

/** The utterances that pass all filters, in the chosen order. */
function found() {
  const text = chosen.text.trim().toLowerCase().split(/\s+/).join(" ");
  const passes = SHOWS[get("show").value];
  return data.utterances
    .filter(utterance =>
      passes(utterance)
      && (chosen.group === null || utterance.group === chosen.group)
      && (chosen.length === null || utterance.length === chosen.length)
      && (chosen.confusion === null || utterance.alignments[chosen.system].some(
        item => isError(item) && keyOf(item) === chosen.confusion))
      && utterance.searched.includes(text))
    .sort(SORTS[get("sort").value]);
}

/** Show what is chosen: the pressed buttons, the filters as chips, and the utterances. */
function choose() {
  for (const button of document.querySelectorAll("[data-filter]")) {
    button.setAttribute("aria-pressed", chosen[button.dataset.filter] === button.dataset.value);
  }
  const utterances = found();
  const status = get("found");
  status.textContent = `${utterances.length.toLocaleString("en")} of`
    + ` ${plural(data.utterances.length, "utterance")}`;
  for (const filter of Object.keys(NAMES)) {
    if (chosen[filter] === null) continue;
    const chip = add(status, "button", "chip");
    add(chip, "bdi", "", NAMES[filter](chosen[filter]));
    chip.type = "button";
    chip.title = "remove this filter";
    chip.onclick = () => {
      chosen[filter] = null;
      choose();
      status.focus();
    };
  }
  showUtterances(utterances);
}

const BLOCK = 10; // utterances that are drawn together
const PRINTED = 50; // blocks
const blocks = new Map(); // element -> its utterances
let drawing;

/** Fill the list with empty blocks; each is drawn when it comes near the visible part. */
function showUtterances(utterances) {
  drawing?.disconnect();
  blocks.clear();
  get("list").replaceChildren();
  drawing = new IntersectionObserver(entries => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) fill(target); else clear(target);
    }
  }, { rootMargin: "1200px" });
  for (let first = 0; first < utterances.length; first += BLOCK) {
    const block = add(get("list"), "div");
    blocks.set(block, utterances.slice(first, first + BLOCK));
    block.style.minHeight = `${blocks.get(block).length * (58 + 26 * (1 + systems.length))}px`;
    if (first === 0) fill(block);
    drawing.observe(block);
  }
}

function fill(block) {
  if (block.firstChild) return;
  for (const utterance of blocks.get(block)) showUtterance(block, utterance);
  block.style.minHeight = "";
}

/** Empty a block that is out of sight, unless the reader is at work in it. */
function clear(block) {
  const isUsed = block.contains(document.activeElement) || block.querySelector("audio");
  if (!block.firstChild || isUsed) return;
  block.style.minHeight = `${block.offsetHeight}px`;
  block.replaceChildren();
}

function showUtterance(parent, utterance) {
  const made = add(parent, "article", "utterance");
  const line = add(made, "p");
  add(line, "bdi", "id", utterance.id);
  if (utterance.group) add(line, "bdi", "faint", utterance.group);
  utterance.counts.forEach((counts, number) => {
    const text = add(line, "span", "faint");
    if (several) letter(text, number);
    const wer = counts.wer === Infinity ? "infinite" : percent(counts.wer);
    text.append(`${plural(counts.errors, "error")} in ${plural(counts.words, "word")}, WER ${wer} %`);
  });
  if (utterance.audio) {
    const play = add(line, "button", "play", "\u25b6 play");
    play.type = "button";
    play.onclick = () => playFrom(made, utterance, utterance.audio.start ?? 0);
  }
  for (const part of parts(utterance)) showWords(made, utterance, part);
}

/** The systems in one part if all have the same reference words; else each in a part of its own. */
function parts(utterance) {
  const said = utterance.alignments.map(
    alignment => alignment.map(item => pairOf(item)[0]).filter(word => word).join(" "));
  const numbers = systems.map((_, number) => number);
  return said.every(text => text === said[0]) ? [numbers] : numbers.map(number => [number]);
}

/** The reference and what each system recognised, word below word. */
function showWords(parent, utterance, numbers) {
  const words = add(parent, "div", "words");
  const text = utterance.alignments[numbers[0]].flat().join(" ");
  if (RIGHT_TO_LEFT.test(text)) words.dir = "rtl";
  const labels = add(words, "span", "column labels");
  add(labels, "span", "", "ref");
  for (const number of numbers) {
    const label = add(labels, "span", "", several ? undefined : "hyp");
    if (several) letter(label, number);
  }
  for (const { said, cells } of columns(utterance, numbers)) {
    const column = add(words, "span", "column");
    add(column, "bdi", "said", said);
    for (const cell of cells) showHeard(column, parent, utterance, cell);
  }
  const playable = words.querySelector("button");
  if (playable) playable.tabIndex = 0; // of the others, arrow keys reach each
  words.onkeydown = stepThroughWords;
}

/** Words of the reference, "" between them for insertions, and each system's word for it. */
function columns(utterance, numbers) {
  const slots = [{ inserted: numbers.map(() => []), said: "", cells: null }];
  numbers.forEach((number, row) => {
    let slot = 0;
    let heard = 0;
    const starts = utterance.starts[number];
    for (const item of utterance.alignments[number]) {
      const [said, word] = pairOf(item);
      const kind = isError(item) ? kindOf(item) : null;
      const cell = { said, word, kind, start: word && starts ? starts[heard] : null };
      if (word) heard += 1;
      if (kind === "insertion") {
        slots[slot].inserted[row].push(cell);
        continue;
      }
      slot += 1;
      slots[slot] ??= { inserted: numbers.map(() => []), said, cells: [] };
      slots[slot].cells[row] = cell;
    }
  });
  return slots.flatMap(({ inserted, said, cells }) => {
    const n = Math.max(...inserted.map(row => row.length));
    const after = Array.from({ length: n }, (_, place) => (
      { said: "", cells: inserted.map(row => row[place] ?? null) }));
    return cells ? [{ said, cells }, ...after] : after;
  });
}

function showHeard(column, article, utterance, cell) {
  const isPlayable = utterance.audio && cell && cell.start !== null;
  if (!cell || (!cell.kind && !isPlayable)) { // most words: as few elements as possible
    add(column, "bdi", "heard", cell ? cell.word : "");
    return;
  }
  const made = add(column, isPlayable ? "button" : "span", "heard");
  add(made, "bdi", "", cell.word || cell.said);
  if (cell.kind) {
    made.classList.add("error", cell.kind);
    made.title = cell.kind;
    add(made, "b", "", MARKS[cell.kind]);
  }
  if (isPlayable) {
    made.type = "button";
    made.tabIndex = -1;
    made.dataset.start = cell.start;
    made.onclick = () => playFrom(article, utterance, cell.start);
  }
}

// ---- playing

function stepThroughWords(event) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const words = [...this.querySelectorAll("button")];
  const next = words[words.indexOf(document.activeElement) + (this.dir === "rtl" ? -step : step)];
  if (!step || !next) return;
  event.preventDefault();
  next.focus();
}

/** Play an utterance's recording from a time in seconds, in a player below its id. */
function playFrom(article, utterance, start) {
  for (const other of document.querySelectorAll("audio")) {
    if (!article.contains(other)) other.remove();
  }
  let audio = article.querySelector("audio");
  if (!audio) {
    audio = document.createElement("audio");
    audio.controls = true;
    audio.src = utterance.audio.address;
    audio.onerror = () => audio.replaceWith(`can't be played: ${utterance.audio.address}`);
    audio.ontimeupdate = () => follow(article, utterance, audio);
    article.children[0].after(audio);
  }
  audio.currentTime = start;
  audio.play().catch(() => {}); // onerror tells the reader
}

/** Mark the words that are being said, and stop at the utterance's end. */
function follow(article, utterance, audio) {
  if (utterance.audio.end !== null && audio.currentTime >= utterance.audio.end) audio.pause();
  for (const word of article.querySelectorAll(".now")) word.classList.remove("now");
  const timed = [...article.querySelectorAll("[data-start]")];
  const begun = timed.map(word => +word.dataset.start).filter(start => start <= audio.currentTime);
  const latest = Math.max(...begun);
  for (const word of timed) {
    if (!audio.paused && +word.dataset.start === latest) word.classList.add("now");
  }
}

// ---- the whole page

function start() {
  showSystems();
  if (data.by !== null) showChart(`By ${data.by}`, "groups", "group", ["most errors", "highest WER", "name"]);
  showChart("By length of the reference", "lengths", "length", ["length", "most errors", "highest WER"]);
  showConfusions();
  for (const [id, names] of [["show", SHOWS], ["sort", SORTS]]) {
    for (const name of Object.keys(names)) add(get(id), "option", "", name);
    get(id).onchange = choose;
  }
  systems.forEach((system, number) => {
    const name = `${letterOf(number)} ${system.name}`;
    add(get("system"), "option", "", name).value = number;
  });
  get("choose").hidden = !several;
  get("system").onchange = () => {
    chosen.system = +get("system").value;
    chosen.confusion = null;
    showConfusions();
    for (const show of charts) show();
    choose();
  };
  get("search").oninput = () => {
    chosen.text = get("search").value;
    choose();
  };
  get("tools").onsubmit = () => false;
  const hasTimes = each => each.audio && each.starts.some(starts => starts !== null);
  get("playable").hidden = !data.utterances.some(hasTimes);
  window.onbeforeprint = () => [...blocks.keys()].slice(0, PRINTED).forEach(fill);
  choose();
}

start();
