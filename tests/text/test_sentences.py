import gzip
import json
import lzma

import pytest

from asr.corpus.manifest import Utterance, write_manifest
from asr.errors import InputError
from asr.text.sentences import read_sentences

SENTENCES = ["the first one", "größer als das", "그 다음", "the last"]
LINES = "\ufeffthe first one\r\n\n gro\u0308ßer\u2028als \x85 das\n \t\n그 다음\nthe\u00a0 last"


@pytest.mark.parametrize(
    ("name", "compress"),
    [("a.txt", bytes), ("no suffix", bytes), ("a.txt.gz", gzip.compress), ("a.xz", lzma.compress)],
)
def test_one_sentence_per_line_in_every_compression(tmp_path, name, compress):
    (tmp_path / name).write_bytes(compress(LINES.encode()))
    assert list(read_sentences(tmp_path / name)) == SENTENCES


def test_a_manifest_gives_its_texts(tmp_path):
    texts = [*SENTENCES[:2], "", *SENTENCES[2:]]
    path = tmp_path / "train.jsonl"
    write_manifest(path, [Utterance(f"u{n}", "a.wav", 1.0, t) for n, t in enumerate(texts)])
    assert list(read_sentences(path)) == SENTENCES


@pytest.mark.parametrize("first", ["", "\ufeff"])
def test_sentence_marks_at_the_ends_are_removed(tmp_path, first):
    path = tmp_path / "a.txt"
    lines = ["<s> go left </s>", "<s>\tstop", "right there </s>", "<s> </s>", "<S> GO </S>", "<s>"]
    path.write_text(first + "\n".join([*lines, "a <unk> s>", "</s>"]), "utf-8")
    assert list(read_sentences(path)) == ["go left", "stop", "right there", "GO", "a <unk> s>"]


@pytest.mark.parametrize(
    ("line", "mark"),
    [
        ("<s> a </s> <s> b </s>", "</s>"),
        ("a <s> b", "<s>"),
        ("</s> a <s>", "</s>"),
        ("<s> <s> a", "<s>"),
    ],
)
def test_sentence_marks_among_the_words_are_refused(tmp_path, line, mark):
    (tmp_path / "a.txt").write_text(f"one\n{line}\n")
    with pytest.raises(
        InputError, match=rf"a\.txt:2: has {mark} among its words; expected <s> and"
    ):
        list(read_sentences(tmp_path / "a.txt"))


def test_control_character_is_named_with_its_line(tmp_path):
    (tmp_path / "a.txt").write_text("one\ndon\x92t\n", "utf-8")
    with pytest.raises(InputError, match=r"a\.txt:2: has U\+0092, a control character"):
        list(read_sentences(tmp_path / "a.txt"))


def test_json_lines_need_only_a_text_and_may_be_compressed(tmp_path):
    lines = "".join(json.dumps({"text": text}) + "\n" for text in SENTENCES)
    (tmp_path / "a.jsonl.xz").write_bytes(lzma.compress(lines.encode()))
    assert list(read_sentences(tmp_path / "a.jsonl.xz")) == SENTENCES


def test_sentences_are_read_lazily(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\ntwo\n\xff\n")
    sentences = read_sentences(path)
    assert [next(sentences), next(sentences)] == ["one", "two"]
    with pytest.raises(InputError, match=r"a\.txt:3: is not UTF-8 text \(invalid start byte\)"):
        next(sentences)


@pytest.mark.parametrize("content", [b"", b"\n \n\r\n"])
def test_a_corpus_without_a_sentence_is_refused(tmp_path, content):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.txt: has no sentence; expected at least one"):
        list(read_sentences(tmp_path / "a.txt"))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("one two", "not JSON: Expecting value at column 1"),
        ("[1]", "is list; expected a JSON object"),
        ('{"words": "one"}', "has no 'text'; expected a text"),
        ('{"text": 3}', "text is 3; expected a text"),
    ],
)
def test_a_json_line_without_a_text_is_named(tmp_path, line, complaint):
    (tmp_path / "a.jsonl").write_text(f'{{"text": "one"}}\n{line}\n')
    with pytest.raises(InputError, match=rf"a\.jsonl:2: {complaint}"):
        list(read_sentences(tmp_path / "a.jsonl"))


@pytest.mark.parametrize(("name", "compress"), [("a.gz", gzip.compress), ("a.xz", lzma.compress)])
def test_truncated_or_wrongly_named_compressed_file_is_refused(tmp_path, name, compress):
    text = "".join(f"sentence {n * n} of many\n" for n in range(20_000))
    whole = compress(text.encode())
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=rf"{name}:\d\d+: can't be decompressed: Compressed file"):
        list(read_sentences(tmp_path / name))
    (tmp_path / name).write_text("plain text\n")
    with pytest.raises(InputError, match=rf"{name}:1: can't be decompressed: "):
        list(read_sentences(tmp_path / name))


def test_missing_file_raises_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        next(read_sentences(tmp_path / "a.txt"))


@pytest.mark.parametrize(
    "text",
    [
        "<s> go left </s>\n<S>stop</S>\n",
        "<s>go left</s>\n</s>\nstop\n",
        "go left\rstop\r",
        '{"text": "go left"}\n{"text": "<s> stop </s>"}\n',
    ],
)
def test_marks_line_ends_and_json_give_no_words(tmp_path, text):
    (tmp_path / "texts.txt").write_bytes(text.encode())
    assert list(read_sentences(tmp_path / "texts.txt")) == ["go left", "stop"]


def test_mark_joined_to_a_word_is_refused(tmp_path):
    (tmp_path / "texts.txt").write_text("go</s> <s>left\n")
    with pytest.raises(InputError, match=r"texts.txt:1: has </s> among its words"):
        list(read_sentences(tmp_path / "texts.txt"))


def test_utf16_is_named(tmp_path):
    (tmp_path / "texts.txt").write_bytes("go left\n".encode("utf-16"))
    with pytest.raises(InputError, match=r"texts.txt: is UTF-16; expected UTF-8"):
        list(read_sentences(tmp_path / "texts.txt"))
