import json
from pathlib import Path

import pytest
from corpora import ASR_DATA, LETTERS, characters, load, needs_corpora, read_all, sizes, write_noise

from asr.corpus.official import read_facts
from asr.errors import InputError

PAGES = {
    "0001-02": "His hoe was too short.",
    "0001-03": "He died in 2011.",
    "0052-10": "“Maama,” she sang – my mother’s song!",
    "0085-01": "An egg",
    "0085-02": "An egg again, said Mrs. Hen",
}


def page(id, text, **changes):
    values = {
        "id": id,
        "audio": f"{id.replace('-', '/')}.opus",
        "text": text,
        "story": f"Story {id[:4]}",
        "author": "Ursula Nafula",
        "reader": "Stella  Maris Namae",
        "licence": "CC BY",
    }
    return json.dumps(values | changes) + "\n"


@pytest.fixture
def storybook(tmp_path, monkeypatch):
    """The module with the facts of a tiny corpus in `tmp_path`."""
    monkeypatch.delenv("ASR_DATA", raising=False)
    module = load("african-storybook")
    monkeypatch.setattr(module, "FACTS", tmp_path / "facts.tsv")
    home = tmp_path / "african-storybook"
    for id in PAGES:
        write_noise(home / id[:4] / f"{id[5:]}.flac")
    (home / "text.jsonl").write_text("".join(page(id, text) for id, text in PAGES.items()))
    module.prepare(tmp_path, tmp_path / "first", update_facts=True)
    return module


def test_stories_are_in_one_split_with_texts_of_letters(storybook, tmp_path, capsys):
    storybook.prepare(tmp_path, tmp_path / "out")
    splits = read_all(tmp_path / "out")
    texts = {split: [item.text for item in items] for split, items in splits.items()}
    assert texts == {
        "train": ["his hoe was too short"],
        "dev": ["maama she sang my mother's song"],
        "test": ["an egg", "an egg again said missus hen"],
    }
    assert splits["dev"][0].id == "0052-10"
    assert splits["dev"][0].speaker == "stella-maris-namae"
    assert splits["dev"][0].duration == 0.1
    line = "0001-03 is left out: its text 'he died in 2011' has '2'; expected letters only"
    assert f"African Storybook: {line}\n" in capsys.readouterr().err


def test_pages_under_other_licences_are_left_out_with_a_line(storybook, tmp_path, capsys):
    path = tmp_path / "african-storybook" / "text.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    lines[-1] = page("0085-02", PAGES["0085-02"], licence="CC BY-NC")
    path.write_text("".join(lines))
    storybook.prepare(tmp_path, tmp_path / "out")
    assert [item.id for item in read_all(tmp_path / "out")["test"]] == ["0085-01"]
    line = "African Storybook: 0085-02 is left out: its licence is 'CC BY-NC'; expected CC BY\n"
    assert line in capsys.readouterr().err


def test_every_problem_is_one_line(storybook, tmp_path, capsys):
    home = tmp_path / "african-storybook"
    (home / "0001" / "02.flac").unlink()
    (home / "0052" / "10.flac").write_bytes(b"no audio")
    write_noise(home / "0085" / "01.flac", samples=400)
    write_noise(home / "0085" / "03.flac")
    lines = (home / "text.jsonl").read_text().splitlines(keepends=True)
    (home / "text.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(InputError, match="African Storybook: 6 problems, no manifest written"):
        storybook.prepare(tmp_path, tmp_path / "out")
    err = capsys.readouterr().err
    for line in (
        "0001-02: has no audio\n",
        "0052/10.flac: ",
        "0085/01.flac: has 0.03 s of audio; expected 0.10 s\n",
        "0085/02.flac: has no transcript\n",
        "0085/03.flac: has no transcript\n",
        "text.jsonl: has no page 0085-02\n",
    ):
        assert line in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (page("0001-03", "Tall", reader=None), "reader is None; expected text"),
        (page("0001-03", "Tall", audio="0001/04.opus"), "is '0001-03' with audio '0001/04.opus'"),
        (page("0001-02", "Tall"), "is '0001-02' with .*, each once"),
        ("Tall", "not JSON: Expecting value"),
    ],
)
def test_lines_of_another_form_are_refused(line, message, storybook, tmp_path):
    path = tmp_path / "african-storybook" / "text.jsonl"
    path.write_text(page("0001-02", "His hoe") + line)
    with pytest.raises(InputError, match=rf"text\.jsonl:2: {message}"):
        storybook.prepare(tmp_path, tmp_path / "out")


def test_the_error_says_that_there_is_no_download(storybook, tmp_path):
    with pytest.raises(InputError, match="can't be downloaded; expected folder african-storybook"):
        storybook.prepare(None, tmp_path / "out")


def test_the_facts_are_of_all_pages_and_stories():
    module = load("african-storybook")
    stories = {id.split("-")[0] for id in read_facts(module.FACTS)}
    assert len(read_facts(module.FACTS)) == 329
    assert len(stories) == 30
    assert stories >= module.DEV | module.TEST
    assert not module.DEV & module.TEST


@needs_corpora
def test_the_real_corpus_has_its_known_sizes(tmp_path, capsys):
    load("african-storybook").prepare(Path(ASR_DATA), tmp_path)
    splits = read_all(tmp_path)
    assert sizes(splits) == {
        "train": (268, 6630, 2, 0.87),
        "dev": (25, 980, 2, 0.13),
        "test": (35, 779, 2, 0.12),
    }
    assert characters(splits) <= LETTERS
    assert capsys.readouterr().err.count("left out") == 1
    texts = [{item.text for item in items} for items in splits.values()]
    assert sum(map(len, texts)) == len(set.union(*texts))
