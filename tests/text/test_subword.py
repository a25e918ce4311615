import itertools
import random
from collections import Counter

import pytest

from asr.errors import InputError
from asr.text.subword import WORD_START, SubwordModel

TEXT = "the cat sat on a mat it's that hat 4x4 théâtre 한국어 음성 the the cat"
WORDS = TEXT.split()


def random_texts(seed, n_texts=200):
    generator = random.Random(seed)
    return [" ".join(generator.choices(WORDS, k=generator.randint(1, 8))) for _ in range(n_texts)]


def merges(texts, n_merges):
    """Byte-pair encoding as in its paper: count all pairs again before each merge."""
    words = Counter(tuple(WORD_START + word) for text in texts for word in text.split())
    for _ in range(n_merges):
        pairs = Counter()
        for word, count in words.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += count
        highest = max(pairs.values())
        best = [pair for pair, count in pairs.items() if count == highest]
        assert len(best) == 1, "a tie: the reference would have to know sentencepiece's order"
        yield "".join(best[0])
        words = Counter({join(word, best[0]): count for word, count in words.items()})


def join(word, pair):
    joined = []
    for piece in word:
        if joined and (joined[-1], piece) == pair:
            joined[-1] += piece
        else:
            joined.append(piece)
    return tuple(joined)


@pytest.mark.parametrize("seed", range(5))
def test_pieces_agree_with_a_plain_implementation(seed):
    generator = random.Random(seed)
    words = ["".join(generator.sample("abcdef", k=generator.randint(2, 6))) for _ in range(100)]
    texts = [" ".join([word] * generator.randint(1, 1000)) for word in words]
    expected = list(merges(texts, 15))
    model = SubwordModel.train(texts, 7 + 15)
    assert list(model.pieces[:15]) == expected
    assert set(model.pieces[15:]) == {WORD_START, *"abcdef"}


@pytest.mark.parametrize("seed", range(3))
def test_texts_round_trip(seed):
    texts = random_texts(seed)
    model = SubwordModel.train(texts, n_pieces=50)
    again = SubwordModel.from_text(model.to_text())
    assert again == model
    assert again.pieces == model.pieces
    assert len(set(model.pieces)) == 50
    for text in [*texts, "", "mat", "cat cat"]:
        pieces = again.encode(text)
        assert set(pieces) <= set(model.pieces)
        assert model.decode(pieces) == text


def test_order_of_the_texts_does_not_matter():
    texts = random_texts(0)
    model = SubwordModel.train(texts, n_pieces=50)
    random.Random(1).shuffle(texts)
    assert SubwordModel.train(iter(texts), n_pieces=50) == model


def test_pieces_of_a_word_do_not_depend_on_its_neighbours():
    model = SubwordModel.train(random_texts(0), n_pieces=60)
    for text in random_texts(1, 20):
        assert model.encode(text) == [p for word in text.split() for p in model.encode(word)]
        for word in text.split():
            starts = [piece.startswith(WORD_START) for piece in model.encode(word)]
            assert starts == [True] + [False] * (len(starts) - 1)


def test_texts_are_not_normalised_again():
    # NFKC would make these one letter each
    texts = ["ﬁ ² Å", "ﬁ ²"]
    model = SubwordModel.train(texts, n_pieces=5)
    assert {"ﬁ", "²", "Å"} <= {piece.removeprefix(WORD_START) for piece in model.pieces}
    assert model.decode(model.encode(texts[0])) == texts[0]


def test_long_texts_are_not_dropped():
    # sentencepiece leaves out lines of more than 4,192 bytes by default
    model = SubwordModel.train(["ab " * 3000 + "z"], n_pieces=5)
    assert "z" in model.pieces
    assert f"{WORD_START}ab" in SubwordModel.train(["ab " * 3000 + "z"], n_pieces=6).pieces


def test_unknown_characters_become_single_pieces():
    model = SubwordModel.train(["ab ab"], n_pieces=4)
    assert model.encode("axb") == [WORD_START, "a", "x", "b"]
    assert model.encode("xya xy") == [WORD_START, "x", "y", "a", WORD_START, "x", "y"]
    assert "x" not in model.pieces


def test_errors_while_reading_texts_are_raised():
    def texts():
        yield from ["a b c"] * 100
        raise InputError("a.txt:101: is no text")

    with pytest.raises(InputError, match=r"^a\.txt:101: is no text$"):
        SubwordModel.train(texts(), 5)


@pytest.mark.parametrize(
    ("texts", "n_pieces", "line"),
    [
        (["ab ab abc", "b a"], 11, "n_pieces is 11; the texts give at most 10"),
        (["ab ab abc", "b a"], 3, r"n_pieces is 3; the texts have 4 characters .* 4 or more"),
        (["", " "], 5, "the texts have no word; expected at least one"),
        ([], 5, "the texts have no word; expected at least one"),
        (["a ▁b"], 5, r"'a ▁b' has '▁' \(U\+2581\), which replaces the space in pieces"),
    ],
)
def test_impossible_numbers_of_pieces_are_refused(texts, n_pieces, line, capfd):
    with pytest.raises(InputError, match=line):
        SubwordModel.train(texts, n_pieces)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("n_pieces", [4, 10])
def test_limits_in_the_messages_are_possible(n_pieces):
    assert len(SubwordModel.train(["ab ab abc", "b a"], n_pieces).pieces) == n_pieces


def test_a_number_of_pieces_below_1_is_refused():
    with pytest.raises(ValueError, match="n_pieces is 0; expected 1 or more"):
        SubwordModel.train(["ab"], n_pieces=0)


def test_training_prints_nothing(capfd):
    SubwordModel.train(random_texts(0), n_pieces=50)
    assert capfd.readouterr() == ("", "")


def test_word_start_character_in_a_text_is_refused():
    with pytest.raises(InputError, match="has '▁'"):
        SubwordModel.train(["ab ab"], n_pieces=4).encode("a▁b")


@pytest.mark.parametrize("text", ["", "not base64!", "anVuaw==", "é"])
def test_invalid_models_are_refused(text):
    with pytest.raises(ValueError, match="the subword model is damaged; expected"):
        SubwordModel.from_text(text)
