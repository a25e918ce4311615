import bz2
import gzip
import lzma
import os
import re
import tracemalloc
from pathlib import Path

import arpa_dictionary
import numpy as np
import pytest
import torch

from asr.errors import InputError
from asr.lm.arpa import read_arpa, write_arpa

TINY = """\\data\\
ngram 1=5
ngram 2=4
ngram 3=2

\\1-grams:
-1.5\t<unk>\t0
-0.7\t</s>\t0
0\t<s>\t-0.3
-0.6\ta\t-0.2
-0.8\tb\t-0.1

\\2-grams:
-0.4\t<s> a\t-0.15
-0.5\ta b\t0
-0.9\tb a\t-0.25
-0.2\tb </s>\t0

\\3-grams:
-0.1\t<s> a b
-0.3\tb a b

\\end\\
"""


def written(folder, text, name="a.arpa"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def same(trie, other):
    return trie.sizes == other.sizes and all(
        torch.equal(table, other.tables[name]) for name, table in trie.tables.items()
    )


# --- there and back ---------------------------------------------------------------------------


def test_every_n_gram_has_its_numbers_in_natural_logarithms(tmp_path):
    words, trie = read_arpa(written(tmp_path, TINY))
    assert words == ("<unk>", "</s>", "a", "b")
    assert trie.sizes == (5, 4, 2)
    number = {word: torch.tensor([n]) for n, word in enumerate([*words, "<s>"])}
    for gram, (log10, weight) in arpa_dictionary.parse(TINY).items():
        node = torch.tensor([0])
        for word in gram:
            node = trie.children(node, number[word])
        assert node > 0
        assert trie.log_probs[node].item() == pytest.approx(log10 * np.log(10), rel=1e-7)
        if len(gram) < 3:
            assert trie.backoffs[node].item() == pytest.approx(weight * np.log(10), rel=1e-7)


@pytest.mark.parametrize("name", ["b.arpa", "b.arpa.gz", "b.xz", "b.bz2"])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_writing_and_reading_gives_the_same_bits(tmp_path, order, name):
    text = arpa_dictionary.random_arpa(order, 6, np.random.default_rng(order))
    words, trie = read_arpa(written(tmp_path, text))
    write_arpa(tmp_path / name, words, trie)
    again, other = read_arpa(tmp_path / name)
    assert again == words
    assert same(trie, other)
    assert sorted(os.listdir(tmp_path)) == sorted(["a.arpa", name])


def test_what_is_written_is_an_arpa_file_with_the_same_numbers(tmp_path):
    words, trie = read_arpa(written(tmp_path, TINY))
    write_arpa(tmp_path / "b.arpa", words, trie)
    expected = arpa_dictionary.parse(TINY)
    found = arpa_dictionary.parse((tmp_path / "b.arpa").read_text())
    assert found.keys() == expected.keys()
    for gram, numbers in expected.items():
        assert found[gram] == pytest.approx(numbers, rel=1e-7)


def test_the_same_model_is_the_same_file(tmp_path):
    words, trie = read_arpa(written(tmp_path, TINY))
    for name in ("b.gz", "c.gz"):
        write_arpa(tmp_path / name, words, trie)
    assert (tmp_path / "b.gz").read_bytes() == (tmp_path / "c.gz").read_bytes()


def test_other_programs_files_are_read(tmp_path):
    """Comments, UNK in capitals, blanks for tabs, no weights, Windows' line ends, other orders."""
    lines = TINY.replace("<unk>", "<UNK>").replace("\t0\n", "\n").splitlines()
    lines[7], lines[8] = lines[8], lines[7]
    text = "made by hand, as \\data\\ says\n\n" + "\r\n".join(lines).replace("\t", " ")
    found = read_arpa(written(tmp_path, text.replace("ngram 1=5", "ngram  1 = 5")))
    expected = read_arpa(written(tmp_path, TINY))
    assert found[0] == expected[0]
    assert same(found[1], expected[1])


def test_unk_in_capitals_is_unk_in_longer_n_grams_too(tmp_path):
    text = TINY.replace("b a\t", "<unk> a\t").replace("b a b", "<unk> a b")
    expected = read_arpa(written(tmp_path, text))
    found = read_arpa(written(tmp_path, text.replace("<unk>", "<UNK>")))
    assert found[0] == expected[0]
    assert same(found[1], expected[1])


def test_words_can_be_numbered_as_a_vocabulary_says(tmp_path):
    words, trie = read_arpa(written(tmp_path, TINY), ("<unk>", "</s>", "b", "a"))
    assert words == ("<unk>", "</s>", "b", "a")
    a_b = trie.children(trie.children(torch.tensor([0]), torch.tensor([3])), torch.tensor([2]))
    assert trie.log_probs[a_b].item() == pytest.approx(-0.5 * np.log(10), rel=1e-7)


def test_words_of_any_script_come_back(tmp_path):
    odd = ("größe", "그", "می\u200cخواهم", "#", "\\end\\")
    text = TINY.replace("ngram 1=5", "ngram 1=10")
    text = text.replace("b\t-0.1", "b\t-0.1\n" + "\n".join(f"-2\t{word}" for word in odd))
    words, trie = read_arpa(written(tmp_path, text))
    assert words == ("<unk>", "</s>", "a", "b", *odd)
    write_arpa(tmp_path / "b.arpa", words, trie)
    assert read_arpa(tmp_path / "b.arpa")[0] == words


@pytest.mark.skipif("ASR_DATA" not in os.environ, reason="needs ASR_DATA's AN4")
def test_an4s_own_language_model_is_read():
    path = Path(os.environ["ASR_DATA"]) / "an4" / "etc" / "an4.ug.lm"
    words, trie = read_arpa(path)
    assert trie.sizes == (107, 1)
    assert "RUBOUT" in words


# --- what other programs write ----------------------------------------------------------------


def equal(found, expected):
    return found[0] == expected[0] and same(found[1], expected[1])


def test_without_unk_unknown_words_are_as_rare_as_for_kenlm(tmp_path, capsys):
    text = TINY.replace("-1.5\t<unk>\t0\n", "").replace("ngram 1=5", "ngram 1=4")
    expected = read_arpa(written(tmp_path, TINY.replace("-1.5\t<unk>", "-100\t<unk>")))
    assert capsys.readouterr().err == ""
    path = written(tmp_path, text)
    assert equal(read_arpa(path), expected)
    found = capsys.readouterr().err
    assert found == (
        f"{path}: has no <unk>; all words that it does not know share the log10 probability -100\n"
    )
    assert equal(read_arpa(path, ("<unk>", "</s>", "a", "b")), expected)


@pytest.mark.parametrize("zero", ["-inf", "-Infinity", "-INF"])
def test_a_logarithm_of_zero_is_as_srilm_writes_it(tmp_path, zero):
    expected = read_arpa(written(tmp_path, TINY.replace("-0.9\tb a", "-99\tb a")))
    assert equal(read_arpa(written(tmp_path, TINY.replace("-0.9\tb a", f"{zero}\tb a"))), expected)
    expected = read_arpa(written(tmp_path, TINY.replace("0\t<s>", "-99\t<s>")))
    assert equal(read_arpa(written(tmp_path, TINY.replace("0\t<s>", f"{zero}\t<s>"))), expected)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("-0.1\t<s> a b", "-0.1\t<s> a b\t0"),
        ("-0.1\t<s> a b", "-0.1\t<s> a b\t-0.0000"),
        ("\n-0.5\ta b", "\n\n \n-0.5\ta b"),
        ("\n\n\\2-grams", "\n\\2-grams"),
        ("\t0\n", "\n"),
        ("\\data\\", "\ufeff\\data\\"),
        ("\\data\\", "-1 <s>\n\\2-grams:\nBeginning of data mark: \\data\\\n\n\\data\\"),
        ("\n", "\r\n"),
        ("\t", "   "),
        ("\n\n\\end", "\n\n\\4-grams:\n\n\\end"),
        ("\\end\\", "\\end\\\n\nwhat SRILM has besides"),
    ],
)
def test_what_other_programs_write_is_the_same(tmp_path, old, new):
    text = TINY.replace(old, new)
    assert text != TINY
    expected = read_arpa(written(tmp_path, TINY))
    if "4-grams" not in new:
        assert equal(read_arpa(written(tmp_path, text)), expected)
        return
    for sections in (text, TINY):  # an order without n-grams, with its title and without
        found = read_arpa(written(tmp_path, sections.replace("3=2", "3=2\nngram 4=0")))
        assert found[1].sizes == (*expected[1].sizes, 0)
        assert torch.equal(found[1].log_probs, expected[1].log_probs)


def test_a_line_is_counted_behind_blank_ones(tmp_path):
    text = TINY.replace("-0.5\ta b", "\n\n-0.5\ta b").replace("-0.2\tb </s>", "-0.2\tb a")
    with pytest.raises(InputError, match=r"a\.arpa:19: has an n-gram that was there before"):
        read_arpa(written(tmp_path, text))
    text = TINY.replace("\n-0.6\ta", "\n\n-0.6\ta").replace("\tb\t", "\ta\t")
    with pytest.raises(InputError, match=r"a\.arpa:12: has a word that was there before"):
        read_arpa(written(tmp_path, text))


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, bz2.compress])
@pytest.mark.parametrize("name", ["a.arpa", "a.lm"])
def test_a_compressed_file_is_known_by_what_it_begins_with(tmp_path, compress, name):
    expected = read_arpa(written(tmp_path, TINY))
    (tmp_path / name).write_bytes(compress(TINY.encode()))
    assert equal(read_arpa(tmp_path / name), expected)


def test_words_are_read_as_texts_have_them(tmp_path):
    text = TINY.replace("\ta", "\tcafe\u0301").replace(" a", " cafe\u0301")
    text = text.replace("\tb", "\tdon\u2019t\u200b").replace(" b", " don\u2019t\u200b")
    words, trie = read_arpa(written(tmp_path, text))
    assert words == ("<unk>", "</s>", "caf\xe9", "don't")
    assert same(trie, read_arpa(written(tmp_path, TINY))[1])


@pytest.mark.parametrize(
    ("a", "b", "complaint"),
    [
        (
            "é",
            "e\u0301",
            r":11: has the word 'e\\u0301', which is 'é' of line 10 spelled in another",
        ),
        ("don't", "don’t", r":11: has the word 'don\\u2019t', which is \"don't\" of line 10"),
        ("a\u200b", "a", r":11: has the word 'a', which is 'a' of line 10 spelled in another way"),
        ("a", "new\u00a0york", r":11: has the word .* of white space, which no text can have"),
        ("a", "\u2028", r":11: has the word .* of invisible characters alone, which no text"),
        ("a", "\u200b", r":11: has the word .* of invisible characters alone, which no text"),
        ("a", "\x92", r":11: has U\+0092, a control character; expected a text"),
    ],
)
def test_words_that_no_text_could_meet_are_refused(tmp_path, a, b, complaint):
    text = TINY.replace("\ta", f"\t{a}").replace("\tb", f"\t{b}")
    with pytest.raises(InputError, match=r"a\.arpa" + complaint):
        read_arpa(written(tmp_path, text))


@pytest.mark.parametrize("begin", ["iARPA\n\n", "qARPA 3 256 256\n", "blmt 2 5 4\n", "Qblmt 2\n"])
def test_irstlms_other_files_are_refused_by_name(tmp_path, begin):
    name = begin.split()[0]
    with pytest.raises(InputError, match=rf"a\.arpa: is IRSTLM's {name}; .* as compile-lm --text"):
        read_arpa(written(tmp_path, begin + TINY))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_encodings_are_named(tmp_path, encoding):
    (tmp_path / "a.arpa").write_bytes(TINY.encode(encoding))
    with pytest.raises(InputError, match=r"a\.arpa: is UTF-(16|32), .*; expected an ARPA file"):
        read_arpa(tmp_path / "a.arpa")


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("\\data\\", "data", r": has no line \\data\\; expected an ARPA file"),
        ("ngram 1=5\n", "", r":2: is 'ngram 2=4'; expected ngram 1="),
        ("ngram 3=2", "ngram 4=2", r":4: is 'ngram 4=2'; expected ngram 3="),
        ("ngram 2=4", "ngrams 2=4", r":3: is 'ngrams 2=4'; expected ngram 2="),
        ("ngram 1=5", "ngram 1=6", r":12: there are 5 1-grams; expected 6"),
        ("ngram 1=5", "ngram 1=" + 5000 * "5", r":2: is 'ngram 1=5.*; expected ngram 1="),
        ("ngram 2=4", "ngram 2=3", r":17: is 2-gram 4; expected 3, as the file says above"),
        ("ngram 1=5", 1_000_001 * "\n" + "ngram 1=5", r":\d+: comes after 1,000,000 blank lines"),
        (
            "ngram 2=4",
            "ngram 2=999999999999",
            r": has 1,000,000,000,006 n-grams, .* of memory are needed; .* are free",
        ),
        (
            "\\2-grams:",
            1_000_001 * "\n" + "\\2-grams:",
            r":\d+: is blank, after 1,000,000 blank lines",
        ),
        (
            "-0.5\ta b",
            1_000_001 * "\n" + "-0.5\ta b",
            r":\d+: is blank, after 1,000,000 blank lines",
        ),
        (
            "\\data\\",
            2000 * (9000 * "a" + "\n") + "\\data\\",
            r": has no line \\data\\ in its first",
        ),
        ("ngram 3=2\n", "", r":13: is .*; expected no weight in the highest order"),
        ("\\2-grams:", "\\3-grams:", r":13: is .*3-grams.*; expected \\2-grams:"),
        ("\\end\\", "", r":24: the file ends here; expected \\end\\"),
        ("-0.3\tb a b\n\n\\end\\\n", "-0.3\tb", r":21: has 2 fields; expected 4"),
        ("-0.9\tb a\t-0.25", "-0.9\tb a b a\t-0.25", r":16: has 6 fields; expected 3 or 4"),
        ("-0.1\t<s> a b", "-0.1\t<s> a b\t0.5", r":20: .*; expected no weight in the highest"),
        ("-0.1\t<s> a b", "-0.1\t<s> a b\t0\t0", r":20: has 6 fields; expected 4"),
        ("-0.9\tb", "-0,9\tb", r":16: is '-0,9.*'; expected numbers around the words"),
        ("a\t-0.2", "a\tx", r":10: is '-0.6\\ta\\tx'; expected numbers around the words"),
        ("-0.9\tb", "0.9\tb", r":16: is '0.9.*'; expected a log-probability of at most 0"),
        ("-0.9\tb", "nan\tb", r":16: is 'nan.*'; expected a log-probability"),
        ("-0.9\tb", "-1e30\tb", r":16: is '-1e30.*'; expected a log-probability"),
        ("-0.9\tb", "inf\tb", r":16: is 'inf.*'; expected a log-probability"),
        ("a\t-0.2", "a\tinf", r":10: .*; expected a finite weight"),
        ("a\t-0.2", "a\t-inf", r":10: .*; expected a finite weight"),
        ("a\t-0.2", "a\tnan", r":10: .*; expected a finite weight"),
        ("-0.7\t</s>\t0", "-0.7\tend\t0", r":12: the unigrams end .* </s> among them"),
        ("0\t<s>", "0\tbegin", r":12: the unigrams end here; expected <s> among them"),
        ("-0.8\tb\t", "-0.8\ta\t", r":11: has a word that was there before"),
        ("-0.6\ta\t", "-0.6\t<UNK>\t", r":10: has <UNK> beside <unk>; expected one of them"),
        ("-0.9\tb a", "-0.9\t<UNK> a", r":16: has the word '<UNK>', which is not among"),
        ("-0.9\tb a", "-0.9\tb c", r":16: has the word 'c', which is not among the unigrams"),
        ("-0.9\tb a", "-0.9\ta b", r":16: has an n-gram that was there before"),
        ("-0.3\tb a b", "-0.3\ta a b", r":21: continues 2 words that are no 2-gram of the file"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path, old, new, complaint):
    text = TINY.replace(old, new, 1)
    assert text != TINY
    with pytest.raises(InputError, match=r"a\.arpa" + complaint):
        read_arpa(written(tmp_path, text))


def test_lines_that_end_with_cr_alone_are_named(tmp_path):
    with pytest.raises(InputError, match=r"a\.arpa: ends its lines with CR alone, not with LF"):
        read_arpa(written(tmp_path, TINY.replace("\n", "\r")))


@pytest.mark.parametrize("size", range(0, len(TINY) - 2, 7))
def test_a_file_cut_anywhere_is_refused(tmp_path, size):
    with pytest.raises(InputError, match=r"a\.arpa:"):
        read_arpa(written(tmp_path, TINY[:size]))


@pytest.mark.parametrize(
    ("name", "compress"), [("a.gz", gzip.compress), ("a.xz", lzma.compress), ("a", bz2.compress)]
)
def test_a_compressed_file_that_is_cut_is_refused(tmp_path, name, compress):
    text = arpa_dictionary.random_arpa(4, 8, np.random.default_rng(0))
    whole = compress(text.encode())
    (tmp_path / name).write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(InputError, match=rf"{name}:\d+: can't be decompressed: Compressed file"):
        read_arpa(tmp_path / name)


@pytest.mark.parametrize("begin", [b"", TINY[:90].encode()])
@pytest.mark.parametrize("compress", [gzip.compress, bytes])
def test_a_line_of_any_length_is_refused_without_its_memory(tmp_path, begin, compress):
    path = tmp_path / "a.arpa"
    path.write_bytes(compress(begin + bytes(1 << 26)))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"a\.arpa: has a line of more than 1,048,576 bytes"):
            read_arpa(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


def test_a_lack_of_memory_names_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr("asr.lm.arpa.make_ngram_trie", lambda *_: [0] * (1 << 60))
    with pytest.raises(InputError, match=r"a\.arpa: not enough memory to read it"):
        read_arpa(written(tmp_path, TINY))


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "a.arpa").write_bytes(TINY.replace("\tb\t", "\té\t").encode("latin-1"))
    with pytest.raises(InputError, match=r"a\.arpa:11: has the word .*0xe9, as in Latin-1"):
        read_arpa(tmp_path / "a.arpa")
    (tmp_path / "a.arpa").write_bytes(bytes(range(256)) * 100)
    with pytest.raises(InputError, match=r"a\.arpa: has no line \\data\\; expected an ARPA file"):
        read_arpa(tmp_path / "a.arpa")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("a",), ":11: has the word 'b'; expected one of the vocabulary"),
        (("a", "b", "c"), ":12: the unigrams end here; expected c among them"),
    ],
)
def test_another_vocabulary_is_refused(tmp_path, words, complaint):
    with pytest.raises(InputError, match=r"a\.arpa" + complaint):
        read_arpa(written(tmp_path, TINY), ("<unk>", "</s>", *words))


@pytest.mark.parametrize("word", ["a b", "", "<s>", "<UNK>", "a\n"])
def test_words_that_such_a_file_cannot_have_are_not_written(tmp_path, word):
    words, trie = read_arpa(written(tmp_path, TINY))
    before = (tmp_path / "a.arpa").read_bytes()
    with pytest.raises(InputError, match=re.escape(f"a.arpa: {word!r} can't be a word")):
        write_arpa(tmp_path / "a.arpa", (*words[:3], word), trie)
    assert (tmp_path / "a.arpa").read_bytes() == before


def test_words_of_another_trie_are_refused(tmp_path):
    words, trie = read_arpa(written(tmp_path, TINY))
    with pytest.raises(ValueError, match=r"words are 3, first .*; expected 4, first"):
        write_arpa(tmp_path / "b.arpa", words[:3], trie)


def test_a_failed_writing_leaves_the_old_file(tmp_path, monkeypatch):
    words, trie = read_arpa(written(tmp_path, TINY))
    monkeypatch.setattr("os.replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_arpa(tmp_path / "a.arpa", words, trie)
    assert (tmp_path / "a.arpa").read_text() == TINY
    assert os.listdir(tmp_path) == ["a.arpa"]
