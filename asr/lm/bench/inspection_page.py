"""activations of a text -> an HTML page: the text, coloured by the activation of a hidden unit."""

import html
import json
import re
from collections.abc import Mapping, Sequence

import numpy as np

from asr.lm.bench.inspection import Follower, Reading

MAX_BYTES = 1_500_000
"""Maximum size of the activations in a page, in bytes; the text is cut to fit."""

MAX_SHOWN = 8_000
"""Maximum number of the text's units in a page, so that a browser can colour them at once."""

LEVELS = 9
"""Number of shades: four on each side of 0."""


def n_shown(reading: Reading) -> int:
    """Number of the text's units that fit into a page."""
    hidden = reading.activations[0].size
    return min(len(reading.pieces), MAX_SHOWN, 2 * (MAX_BYTES // hidden))


def activation_page(
    title: str,
    reading: Reading,
    best: Mapping[str, Sequence[Follower]],
    notes: Sequence[str] = (),
) -> str:
    """A self-contained page, which needs no network and no other file.

    Activations are shown in `LEVELS` shades. The darkest shades mean plus and minus the hidden
    unit's largest magnitude in the shown text.

    Args:
        title: heading of the page.
        reading: the text and its activations.
        best: the hidden units that follow each property, by the property's name and measure.
        notes: lines to show below.

    Returns:
        page: HTML, about 2 MB at most.
    """
    shown = n_shown(reading)
    activations = reading.activations[:shown]
    scale = np.abs(activations).max(axis=0)  # (L, H)
    scale[scale == 0] = 1
    if shown < len(reading.pieces):
        notes = [f"The page shows the first {shown} of {len(reading.pieces)} units.", *notes]
    values = {
        "pieces": reading.pieces[:shown],
        "begins": np.flatnonzero(reading.position[:shown] == 1).tolist(),
        "scale": np.round(scale, 4).tolist(),
        "levels": _packed(activations / scale),
        "alphabet": _ALPHABET,
        "best": {
            name: [[f.layer, f.unit, f.sign, f.chosen_by, f.held_out] for f in found]
            for name, found in best.items()
        },
    }
    parts = {
        "TITLE": html.escape(title),
        "NOTES": "".join(f"<li>{html.escape(note)}</li>" for note in notes),
        # escaped, because "<" could end the script element
        "DATA": json.dumps(values, ensure_ascii=False, separators=(",", ":")).replace(
            "<", "\\u003c"
        ),
    }
    return re.sub("@(TITLE|NOTES|DATA)@", lambda found: parts[found[1]], _PAGE)


_ALPHABET = "".join(chr(code) for code in range(33, 127) if chr(code) not in "\"'<>&\\")[
    : LEVELS**2
]


def _packed(shares: np.ndarray) -> list[list[str]]:
    """The shades of (U, L, H) values from -1 to 1: for each hidden unit, two per character."""
    half = LEVELS // 2
    levels = np.rint(shares * half).astype(int) + half
    if len(levels) % 2:
        levels = np.concatenate([levels, levels[-1:]])
    codes = np.frombuffer(_ALPHABET.encode("ascii"), dtype=np.uint8)
    characters = codes[levels[0::2] * LEVELS + levels[1::2]]  # (U / 2, L, H)
    return [
        [characters[:, layer, unit].tobytes().decode("ascii") for unit in range(levels.shape[2])]
        for layer in range(levels.shape[1])
    ]


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>@TITLE@</title>
<style>
* { box-sizing: border-box; }
body { margin: 0; color: #222; background: #f4f4f1; font: 15px/1.5 system-ui, sans-serif; }
header { padding: 14px 24px; color: #fff; background: #2b3542; }
h1 { margin: 0; font-size: 18px; font-weight: 600; overflow-wrap: anywhere; }
main { display: grid; grid-template-columns: 320px minmax(0, 1fr); gap: 24px; padding: 24px;
  max-width: 1500px; margin: auto; }
aside, article { background: #fff; border: 1px solid #ddd; border-radius: 6px; padding: 16px 18px; }
aside { align-self: start; position: sticky; top: 16px; max-height: calc(100vh - 32px);
  overflow: auto; }
h2 { margin: 20px 0 4px; font-size: 15px; }
h2:first-child { margin-top: 0; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { font-weight: normal; font-size: 12px; color: #666; text-align: right; }
th:first-child, td:first-child { text-align: left; }
td { padding: 1px 6px; text-align: right; }
th { padding: 0 6px; }
tbody tr { cursor: pointer; }
tbody tr:hover { background: #eef2f7; }
tbody tr.on { background: #2b3542; color: #fff; }
td button { all: unset; cursor: pointer; }
td button:focus-visible { outline: 2px solid #4b7bb5; }
#choose { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 14px; margin-bottom: 6px; }
#choose input, #choose select { font: inherit; padding: 2px 6px; width: 5.5em; }
#choose button { font: inherit; padding: 2px 10px; }
#legend { display: flex; align-items: center; color: #555; font-size: 13px; }
#legend i { width: 24px; height: 14px; border: solid #ccc; border-width: 1px 0; }
#least { margin-right: 8px; } #most { margin-left: 8px; }
#legend output { margin-left: auto; font-variant-numeric: tabular-nums; white-space: pre; }
#text { margin-top: 14px; font: 18px/1.75 Georgia, "DejaVu Serif", serif; }
#text p { margin: 0 0 .5em; white-space: pre-wrap; overflow-wrap: anywhere; }
#text span { padding: 2px 0; }
ul { margin: 20px 0 0; padding-left: 18px; font-size: 13px; color: #555; }
.l0 { background: #4a90c8; } .l1 { background: #7db3da; } .l2 { background: #afd1e9; }
.l3 { background: #dcebf5; } .l4 { background: #fff; } .l5 { background: #fde6da; }
.l6 { background: #f9c3a8; } .l7 { background: #f09a79; } .l8 { background: #e2694c; }
@media (max-width: 800px) { main { grid-template-columns: 1fr; } aside { position: static; } }
</style>
</head>
<body>
<header><h1>@TITLE@</h1></header>
<main>
<aside>
<div id="best"></div>
<ul>
<li>The colour of a piece of text shows the hidden unit's activation after that piece.</li>
<li>&#8593; rises with the property, &#8595; falls. AUC: probability that the activation is higher
(&#8595; lower) where the property holds than where it does not; 0.5 by chance. Spearman: rank
correlation; 0 by chance.</li>
<li>Hidden units are ranked by the first half of the text. Trust the second half: it had no part in
the ranking.</li>
@NOTES@
</ul>
</aside>
<article>
<div id="choose">
<label>layer <select id="layer"></select></label>
<label>hidden unit <input id="unit" type="number" min="0"></label>
<button id="before">&#9664; before</button><button id="next">next &#9654;</button>
</div>
<div id="legend"></div>
<div id="text"><noscript>The colours need JavaScript; all of it is in this file.</noscript></div>
</article>
</main>
<script type="application/json" id="data">@DATA@</script>
<script>
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const get = id => document.getElementById(id);
const add = (parent, tag, text) => {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
};
const LEVELS = 9, size = data.levels[0].length, rows = [], spans = [];
let layer = 0, unit = 0, levels = [];

function decode(packed) {
  const found = [];
  for (const character of packed) {
    const code = data.alphabet.indexOf(character);
    found.push(Math.floor(code / LEVELS), code % LEVELS);
  }
  return found;
}

function show(newLayer, newUnit) {
  layer = newLayer;
  unit = Math.min(Math.max(newUnit || 0, 0), size - 1);
  levels = decode(data.levels[layer][unit]);
  spans.forEach((span, n) => { span.className = "l" + levels[n]; });
  get("layer").value = layer;
  get("unit").value = unit;
  const largest = data.scale[layer][unit].toPrecision(2);
  get("least").textContent = "\u2212" + largest;
  get("most").textContent = "+" + largest;
  for (const [row, l, u] of rows) row.className = l === layer && u === unit ? "on" : "";
}

for (const [name, found] of Object.entries(data.best)) {
  add(get("best"), "h2", name);
  const table = add(get("best"), "table"), head = add(add(table, "thead"), "tr");
  for (const title of ["layer, unit", "first half", "second half"]) add(head, "th", title);
  const body = add(table, "tbody");
  for (const [l, u, sign, chosenBy, heldOut] of found) {
    const row = add(body, "tr");
    add(add(row, "td"), "button", l + ", " + u + (sign > 0 ? " \u2191" : " \u2193"));
    add(row, "td", chosenBy.toFixed(3));
    add(row, "td", heldOut.toFixed(3));
    row.onclick = () => show(l, u);
    rows.push([row, l, u]);
  }
}
data.levels.forEach((_, n) => add(get("layer"), "option", n));
get("unit").max = size - 1;
get("layer").onchange = () => show(+get("layer").value, unit);
get("unit").onchange = () => show(layer, +get("unit").value);
get("before").onclick = () => show(layer, (unit + size - 1) % size);
get("next").onclick = () => show(layer, (unit + 1) % size);

add(get("legend"), "span").id = "least";
for (let level = 0; level < LEVELS; level++) add(get("legend"), "i").className = "l" + level;
add(get("legend"), "span").id = "most";
const reading = add(get("legend"), "output");

const begins = new Set(data.begins);
let line;
data.pieces.forEach((piece, n) => {
  if (begins.has(n)) line = add(get("text"), "p");
  const span = add(line, "span", piece);
  span.onmouseenter = () => {
    const value = (levels[n] / 4 - 1) * data.scale[layer][unit];
    reading.textContent = JSON.stringify(piece) + "  \u2248 " + value.toFixed(2);
  };
  spans.push(span);
});
const first = Object.values(data.best)[0];
show(first ? first[0][0] : 0, first ? first[0][1] : 0);
</script>
</body>
</html>
"""
