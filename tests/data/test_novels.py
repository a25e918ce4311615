import gzip
import importlib.util
import lzma
import sys
from pathlib import Path

import pytest

from asr.errors import InputError
from asr.text.normalisation import normalise

HOME = Path(__file__).parent.parent.parent / "data" / "novels"


def load(name):
    """A script of the folder as a fresh module."""
    spec = importlib.util.spec_from_file_location(name, HOME / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


spoken = load("spoken")


@pytest.fixture
def novels(monkeypatch):
    monkeypatch.syspath_prepend(HOME)  # as when the script runs
    for name in ("spoken", "punctuated"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delenv("ASR_DATA", raising=False)
    return load("prepare")


def read(out, split):
    return (out / f"{split}.txt").read_text(encoding="utf-8").splitlines()


def number_of(words):
    """The value of a number in words, summed from left to right."""
    total = part = 0
    for word in words.split():
        if word in spoken.ONES:
            part += spoken.ONES.index(word)
        elif word in spoken.TENS:
            part += 10 * (spoken.TENS.index(word) + 2)
        elif word == "hundred":
            part *= 100
        elif word != "and":
            total += part * {"thousand": 10**3, "million": 10**6, "billion": 10**9}[word]
            part = 0
    return total + part


def test_spelled_cardinals_have_the_right_value():
    numbers = [*range(2000), 9999, 10_000, 12_345, 100_000, 999_999, 10**6, 1_002_003]
    for number in [*numbers, spoken.LARGEST]:
        assert number_of(spoken.cardinal(number)) == number
    assert spoken.cardinal(1842) == "one thousand eight hundred and forty two"
    assert spoken.cardinal(12_005) == "twelve thousand and five"


@pytest.mark.parametrize(
    ("written", "read_aloud"),
    [
        ("in 1842.", "in eighteen forty two ."),
        ("1805, 1900", "eighteen hundred and five , nineteen hundred"),
        ("1,842 men", "one thousand eight hundred and forty two men"),
        ("the 21st, 30th, 8th and 2d", "the twenty first , thirtieth , eighth and second"),
        ("L1842 or £1,000,000's", "one thousand eight hundred and forty two pounds or one million"),
        ("£1 9s. 1d.", "one pound nine shillings . one penny ."),
        ("at 7.30 or 7.05", "at seven . thirty or seven . zero five"),
        ("No. 7, '87", "number seven , ' eighty seven"),
        ("8-9", "eight - nine"),
        ("0 and 10", "zero and ten"),
    ],
)
def test_numbers_are_spelled_as_they_are_read(written, read_aloud):
    text, _ = spoken.spell_numbers(written)
    assert " ".join(text.split()).startswith(read_aloud)


@pytest.mark.parametrize("written", ["cou1d", "R17", "1000000000000", "no number"])
def test_other_text_is_not_changed(written):
    assert spoken.spell_numbers(written) == (written, 0)


def test_titles_are_written_out():
    text = "Mr. and Mrs Bold, Dr. Grantly & St. John's; Drake, stop. Gen Rev"
    assert spoken.spell_titles(text) == (
        "Mister and Missus Bold, Doctor Grantly  and  Saint John's; Drake, stop. Gen Rev"
    )


def test_ends_of_sentences_are_found(novels):
    text = (
        'He met Mr. J. Smith of No. 7. "Why?" he said. "Why. . . . No! It is I. You?" She - ah! -'
        " went in 1842. 'Twas late, at St. Paul's. (All slept.) Then..."
    )
    assert [sentence.strip() for sentence in novels.sentences([text])] == [
        "He met Mr. J. Smith of No. 7.",
        '"Why?" he said.',
        '"Why. . . .',
        "No!",
        "It is I.",
        'You?"',
        "She - ah! - went in 1842.",
        "'Twas late, at St. Paul's.",
        "(All slept.)",
        "Then...",
    ]


def test_wrapped_lines_are_joined_and_whole_paragraphs_are_not(novels):
    broken = ["CHAPTER I", "", "It was late and", "dark. Nobody", "came.", "", "", "The End"]
    assert list(novels.paragraphs(broken)) == [
        "CHAPTER I",
        "It was late and dark. Nobody came.",
        "The End",
    ]
    whole = ["CHAPTER I", "It was late and dark.", "Nobody came.", "", "The End"]
    assert list(novels.paragraphs(whole)) == [line for line in whole if line]
    for caseless in (["it was late", "", "nobody came"], ["IT WAS LATE", "NOBODY CAME"]):
        assert list(novels.paragraphs(caseless)) == [line for line in caseless if line]


def book(title, n_sentences):
    sentences = [f"{title} has {'very ' * (n % 5)}many words" for n in range(n_sentences)]
    return f"== {title}\n" + "".join(f"{sentence}.\n" for sentence in sentences)


@pytest.mark.parametrize(("suffix", "opened"), [("", open), (".gz", gzip.open), (".xz", lzma.open)])
def test_the_end_of_each_book_is_held_out(novels, tmp_path, suffix, opened):
    source = tmp_path / f"books.txt{suffix}"
    with opened(source, "wt", encoding="utf-8") as file:
        file.write(book("Emma", 1000) + book("Persuasion", 500))
    report = novels.prepare([source], tmp_path)
    assert report.books == 2
    files = {split: read(tmp_path, split) for split in ("train", "dev", "test")}
    for title, n_sentences in (("emma", 1000), ("persuasion", 500)):
        parts = [[line for line in files[s] if line.startswith(title)] for s in files]
        written = [line for part in parts for line in part]
        expected = book(title, n_sentences).replace(".", "").splitlines()[1:]
        assert written == expected  # nothing lost, in order
        words = [sum(len(line.split()) for line in part) for part in parts]
        for held in words[1:]:
            assert abs(held - 0.01 * sum(words)) <= 8  # a sentence's words
    for split, lines in files.items():
        assert report.sentences[split] == len(lines)
        assert report.words[split] == sum(len(line.split()) for line in lines)


def test_left_out_sentences_are_counted(novels, tmp_path):
    text = "All well.\n" * 200 + "* * *\nNo cou1d here.\n" + "The 3 of us.\n" * 200
    (tmp_path / "x.txt").write_text(text)
    report = novels.prepare([tmp_path / "x.txt"], tmp_path)
    assert (report.numbers, report.wordless, report.unspeakable) == (200, 1, ["no cou1d here"])
    assert read(tmp_path, "train").count("the three of us") == 194
    assert sum(report.sentences.values()) == 400


def test_a_long_text_is_read_in_parts(novels, tmp_path, monkeypatch):
    monkeypatch.setattr(novels, "LONGEST_BOOK", 300)
    (tmp_path / "x.txt").write_text("ONE OF MANY SENTENCES\n" * 1000)
    report = novels.prepare([tmp_path / "x.txt"], tmp_path)
    assert report.books == 4
    assert report.sentences == {"train": 980, "dev": 10, "test": 10}


@pytest.mark.parametrize(
    ("sentence", "line"),
    [
        ('"Why, Mr. Bold?" he said.', "Why, Mister Bold? he said."),
        ("Mrs. J. F. Bold - at No. 7 - ate;", "Missus J F Bold, at number seven, ate,"),
        ("30 men, and Mme. X. of St. Malo. . . .", "Thirty men, and Mme X of Saint Malo."),
        ('"It was--" ', "It was,"),
        ('"I!"', "I!"),
        ("The _very_ man said, NEVER!", "The very man said, NEVER!"),
        ("At 7.30 I had £1 9s. to pay.", "At seven thirty I had one pound nine shillings to pay."),
        ("CLARA VAUGHAN.", ""),
        ("Chapter XII.", ""),
        ("Book the First.", ""),
        ("Through the Postern Gate", ""),
        ("No cou1d here.", ""),
        ("* * *", ""),
    ],
)  # fmt: skip
def test_lines_of_the_punctuated_text(novels, sentence, line):
    assert novels.punctuated_line(sentence) == line
    if line:  # the words are those of the text for language models
        assert normalise(line) == novels.line_of(sentence, novels.Report())


def test_whole_books_are_held_out(novels, tmp_path):
    text = "".join(f"== {n}\nCHAPTER I\n\n{'very ' * n}Good, book {n}.\n" for n in range(45))
    (tmp_path / "x.txt").write_text(text)
    report = novels.prepare_punctuated([tmp_path / "x.txt"], tmp_path)
    assert report.sentences == {"train": 41, "dev": 2, "test": 2}
    assert report.headings == 45
    for split, numbers in {"dev": (9, 29), "test": (19, 39)}.items():
        lines = read(tmp_path, f"{split}-punctuated")
        assert [line.count("ery ") for line in lines] == list(numbers)
    (tmp_path / "y.txt").write_text("== 1\nOne book.\n")
    with pytest.raises(InputError, match=r"y\.txt: has 1 book; expected 20 or more"):
        novels.prepare_punctuated([tmp_path / "y.txt"], tmp_path)
    assert read(tmp_path, "train-punctuated")[0] == "Good, book zero."


def test_invalid_texts_are_refused(novels, tmp_path, monkeypatch):
    path = tmp_path / "x.txt"
    path.write_text("One sentence.\n")
    with pytest.raises(InputError, match=r"x.txt: too short: train has no sentence"):
        novels.prepare([path], tmp_path)
    assert not (tmp_path / "train.txt").exists()
    path.write_bytes(b"fine\n\xff\xfe\n")
    with pytest.raises(InputError, match=r"x.txt:2: is not UTF-8 text"):
        novels.prepare([path], tmp_path)
    (tmp_path / "x.xz").write_bytes(b"no xz")
    with pytest.raises(InputError, match=r"x.xz: can't be decompressed"):
        novels.prepare([tmp_path / "x.xz"], tmp_path)
    monkeypatch.setattr(sys, "argv", ["prepare.py", "--out", str(tmp_path)])
    with pytest.raises(InputError, match=r"english_novels.txt.xz: neither under --data-root nor"):
        novels.main()
