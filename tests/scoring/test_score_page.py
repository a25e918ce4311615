import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from benchmarks.score_against_sclite import random_pairs

from asr.scoring.entries import Entry
from asr.scoring.error_rates import ErrorCounts, confusions
from asr.scoring.recordings import Recording
from asr.scoring.score_page import length_range, score_page
from asr.scoring.systems import aligned_system, score_values
from asr.scoring.transcripts import Pairs

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed: no browser")

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "\"quoted\" 'text' &amp; &lt;b>",
    "line\u2028separator\u2029 tab",
    "שלום \u202eright-to-left \u2066isolated",
    "😀 👩‍👩‍👧 \U0001f1e9\U0001f1ea",
    "@DATA@ @SCRIPT@ \\u003c",
]


def systems_of(references, *hypotheses, ids=None, speakers=None, words=None):
    systems = []
    for number, texts in enumerate(hypotheses):
        entries = []
        for n, (said, heard) in enumerate(zip(references, texts, strict=True)):
            fields = {"speaker": speakers[n]} if speakers else {}
            times = {"words": words[n]} if words else {}
            entries.append((Entry("r", said, fields=fields), Entry("h", heard, fields=times)))
        pairs = Pairs(list(references), list(texts), ids, entries=entries)
        systems.append(aligned_system(f"system {number}", pairs))
    return systems


def page_of(systems, by=None, title="title", recordings=None, **options):
    values = score_values(systems, by, "ref")
    recordings = recordings or [None] * len(systems[0].counts)
    return score_page(title, systems, values, recordings, **options)


class Reader(HTMLParser):
    """The text of each script, and all attributes."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.scripts = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attributes]

    def handle_data(self, text):
        if self.tags and self.tags[-1] == "script" and self.get_starttag_text()[:7] == "<script":
            self.scripts.append(text)


def data_of(page):
    return json.loads(Reader(page).scripts[0])


def errors_in(alignment):
    """Counted from a page's alignment, independently of `count_errors`."""
    pairs = [item if isinstance(item, list) else [item, item] for item in alignment]
    wrong = [pair for pair in pairs if pair[0] != pair[1]]
    return ErrorCounts(
        substitutions=sum(bool(said and heard) for said, heard in wrong),
        deletions=sum(not heard for _, heard in wrong),
        insertions=sum(not said for said, _ in wrong),
        words=sum(bool(said) for said, _ in pairs),
    )


def test_the_data_of_a_page_have_the_counts_of_the_scorer():
    references, one = random_pairs(150, seed=3)
    other = random_pairs(150, seed=4)[1]
    speakers = [f"s{n % 4}" for n in range(150)]
    systems = systems_of(references, one, other, speakers=speakers)
    values = score_values(systems, "speaker", "ref")
    data = data_of(page_of(systems, "speaker"))
    assert data["by"] == "speaker"
    for number, system in enumerate(systems):
        shown = data["systems"][number]
        assert values["systems"][number].items() < shown.items()
        assert sum(each["utterances"] for each in shown["lengths"]) == 150
        assert sum(each["words"] for each in shown["lengths"]) == shown["words"]
        for utterance, counts in zip(data["utterances"], system.counts, strict=True):
            assert errors_in(utterance["alignments"][number]) == counts
            assert utterance["length"] == length_range(counts.words)
    assert [utterance["group"] for utterance in data["utterances"]] == speakers


def test_ranges_of_lengths_are_powers_of_two():
    assert [length_range(n) for n in (0, 1, 2, 3, 4, 7, 8, 100)] == [
        "0", "1", "2-3", "2-3", "4-7", "4-7", "8-15", "64-127"
    ]  # fmt: skip


def test_hostile_texts_stay_texts():
    systems = systems_of(HOSTILE, HOSTILE[::-1], ids=HOSTILE, speakers=HOSTILE)
    page = page_of(systems, "speaker", title=HOSTILE[0], notes=HOSTILE)
    plain = page_of(systems_of(["a"] * len(HOSTILE), ["b"] * len(HOSTILE)))
    assert Reader(page).tags == Reader(plain).tags
    data = data_of(page)
    assert [utterance["id"] for utterance in data["utterances"]] == HOSTILE
    assert data["notes"] == HOSTILE
    for utterance, system in zip(data["utterances"], systems[0].alignments, strict=True):
        found = [tuple(i) if isinstance(i, list) else (i, i) for i in utterance["alignments"][0]]
        assert found == system
    assert f"<h1>{html.escape(HOSTILE[0])}</h1>" in page


def test_a_page_needs_no_other_file_and_no_host():
    page = page_of(systems_of(["a b"], ["a c"]))
    assert not re.search(r"https?:|//\w+\.|@import|url\(|\bimport\b|fetch\(|XMLHttp", page)
    links = [name for _, name, _ in Reader(page).attributes if name in ("src", "href", "srcset")]
    assert links == []
    assert "default-src 'none'" in page


def test_recordings_inside_the_page_s_folder_have_relative_addresses(tmp_path):
    inside, outside = tmp_path / "out/wav/a b#1.wav", tmp_path / "elsewhere/ü.wav"
    recordings = [Recording(inside, None, None), Recording(outside, 1.0, 2.5)]
    systems = systems_of(["a", "b"], ["a", "b"])
    page = page_of(systems, recordings=recordings, page=tmp_path / "out/page.html")
    found = [utterance["audio"] for utterance in data_of(page)["utterances"]]
    assert found == [
        {"address": "wav/a%20b%231.wav", "start": None, "end": None},
        {"address": f"file://{tmp_path}/elsewhere/%C3%BC.wav", "start": 1.0, "end": 2.5},
    ]


def in_browser(folder, page, script, size="1200,900"):
    """What a script at the end of a page writes as JSON into the page's body, in a browser."""
    path = folder / "page.html"
    end = page.rindex("</body>")
    path.write_text(f"{page[:end]}<script>{{{script}}}</script>{page[end:]}", encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={folder}/profile", f"--window-size={size}", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    body = re.search(r"<body>(.*)</body>", done.stdout, re.DOTALL)
    return json.loads(html.unescape(body[1]))


@needs_chromium
def test_a_browser_shows_the_numbers_and_texts(tmp_path):
    references, one = random_pairs(60, seed=5)
    other = random_pairs(60, seed=6)[1]
    systems = systems_of(references, one, other)
    values = score_values(systems, None, "ref")["systems"]
    script = """
      const report = name => [...document.querySelectorAll(name)].map(each => each.textContent);
      const found = {
        cells: report("#systems td.number"), frequent: report(".confusion"), first: report(".id"),
      };
      document.querySelector(".confusion").click();
      found.filtered = data.utterances.length - [...blocks.values()].flat().length;
      get("search").value = "ZZZ no such text";
      get("search").oninput();
      found.none = get("found").textContent;
      document.body.textContent = JSON.stringify(found);
    """
    found = in_browser(tmp_path, page_of(systems), script)
    first, second = values
    cells = found["cells"]
    assert cells[0] == f"{100 * first['wer']:.2f}"
    assert cells[1] == f"{100 * first['wer_low']:.2f} to {100 * first['wer_high']:.2f}"
    assert cells[4:7] == [str(first[k]) for k in ("substitutions", "deletions", "insertions")]
    assert cells[9] == f"{100 * second['wer']:.2f}"
    assert cells[17] == f"{second['p']:.4f}"
    most = next(pair for pair in confusions(systems[0].alignments) if pair[0] and pair[1])
    assert found["frequent"][0] == f"{most[2]}{most[0]} \u2192 {most[1]}"
    having = [a for a in systems[0].alignments if most[:2] in a]
    assert found["filtered"] == 60 - len(having)
    assert found["none"].startswith("0 of 60 utterances")
    worst = max(systems[0].counts, key=lambda counts: counts.errors)
    assert systems[0].counts[int(found["first"][0]) - 1].errors == worst.errors


@needs_chromium
def test_a_browser_shows_hostile_texts_and_plays_words(tmp_path):
    words = [
        [{"word": word, "start": 0.5 * n} for n, word in enumerate(text.split())]
        for text in HOSTILE
    ]
    systems = systems_of(HOSTILE, HOSTILE, ids=HOSTILE, speakers=HOSTILE, words=words)
    recordings = [Recording(tmp_path / "a.wav", None, None)] * len(HOSTILE)
    script = """
      const articles = [...document.querySelectorAll("article")];
      const found = articles.map(article => [
        article.querySelector(".id").textContent,
        [...article.querySelectorAll(".said")].map(word => word.textContent).join(" "),
        [...article.querySelectorAll("button.heard")].map(word => +word.dataset.start),
        article.querySelector(".words").dir,
      ]);
      document.querySelector("button.heard").click();
      const players = document.querySelectorAll("article audio").length;
      document.body.textContent = JSON.stringify([found, players]);
    """
    page = page_of(systems, "speaker", title=HOSTILE[0], recordings=recordings)
    found, players = in_browser(tmp_path, page, script)
    assert players == 1
    assert [row[0] for row in found] == HOSTILE
    assert [row[1] for row in found] == [" ".join(text.split()) for text in HOSTILE]
    assert [row[2] for row in found] == [
        [0.5 * n for n in range(len(text.split()))] for text in HOSTILE
    ]
    assert [row[3] for row in found] == ["rtl" if "ש" in text else "" for text in HOSTILE]


@needs_chromium
def test_percentages_are_rounded_as_in_python(tmp_path):
    rates = [n / 800 for n in range(-800, 800)] + [n / 773 for n in range(-773, 773)]
    script = f"document.body.textContent = JSON.stringify({rates}.map(percent))"
    page = page_of(systems_of(["a"], ["a"]))
    assert in_browser(tmp_path, page, script) == [f"{100 * rate:.2f}" for rate in rates]


@needs_chromium
def test_a_browser_draws_only_the_utterances_in_sight(tmp_path):
    references, hypotheses = (texts * 6 for texts in random_pairs(100, seed=7))
    script = """
      const n = () => document.querySelectorAll("article").length;
      const found = [blocks.size, n()];
      [...blocks.keys()].forEach(fill);
      found.push(n());
      [...blocks.keys()].forEach(clear);
      found.push(n());
      document.body.textContent = JSON.stringify(found);
    """
    page = page_of(systems_of(references, hypotheses))
    n_blocks, at_first, filled, cleared = in_browser(tmp_path, page, script)
    assert (n_blocks, filled, cleared) == (60, 600, 0)
    assert at_first == 10


@needs_chromium
def test_ten_thousand_utterances_fit_a_telephone(tmp_path):
    references, hypotheses = (texts * 100 for texts in random_pairs(100, seed=8))
    script = """
      const n = document.querySelectorAll("article").length;
      const found = [blocks.size, n, innerWidth, document.documentElement.scrollWidth];
      document.body.textContent = JSON.stringify(found);
    """
    page = page_of(systems_of(references, hypotheses))
    n_blocks, n_drawn, width, needed = in_browser(tmp_path, page, script, "390,844")
    assert (n_blocks, n_drawn) == (1000, 10)
    assert needed <= width <= 500  # some browsers have no narrower window
