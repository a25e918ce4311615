// What is chosen -> the alignments of the utterances, which can be played. Follows score_page.js.

// ---- which utterances

const mine = utterance => utterance.counts[chosen.system];
const SORTS = {
  "number of errors": (one, other) => mine(other).errors - mine(one).errors,
  WER: (one, other) => highestFirst(mine(one).wer, mine(other).wer),
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

// ---- the list

const BLOCK = 10; // utterances that are drawn together
const PRINTED = 10; // blocks: browsers lay out paper slowly
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
  const orders = ["most errors", "highest WER"];
  if (data.by !== null) showChart(`By ${data.by}`, "groups", "group", [...orders, "name"]);
  showChart("By length of the reference", "lengths", "length", ["length", ...orders]);
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
  window.onafterprint = choose;
  window.onbeforeprint = () => {
    drawing.disconnect(); // on paper, everything is in sight
    [...blocks.keys()].slice(0, PRINTED).forEach(fill);
    get("printed").hidden = blocks.size <= PRINTED;
  };
  choose();
}

start();
