import pytest

from asr.errors import InputError
from asr.scoring.ids import first_words_are_ids
from asr.scoring.lines import numbered, text_readings


def first_words(text, name):
    return text_readings(numbered(text, name))[-2]


def judged(reference, hypothesis):
    return first_words_are_ids(first_words(reference, "ref"), first_words(hypothesis, "hyp"))


@pytest.mark.parametrize(
    ("reference", "hypothesis"),
    [
        ("0001 turn on\n0002 close it\n", "0001 turn off\n0002 close it\n"),
        ("1 turn on\n2 close it\n3 go\n", "1 turn off\n2 close it\n3 go\n"),
        ("84-121123-0000 go on\n", "84-121123-0000 go\n"),
        ("FADG0_SA1 a b\nFAKS0_SX102 c\n", "FADG0_SA1 a\nFAKS0_SX102 c\n"),
        ("utt_01 1 2 3\nutt_02 4\n", "utt_01 1 2\nutt_02 4\n"),
        # in another order
        ("anna hello you\nbob good day\n", "bob good way\nanna hello you\n"),
        ("a1 x\nb_2 y\nc3d z\n7 w\n5-1-2 v\n", "a1 x\nb_2 y\nc3d z\n7 w\n5-1-2 u\n"),
        # one is missing
        ("utt1 a b\nutt2 c d\nutt3 e\n", "utt1 a b\nutt3 e\n"),
        # no words
        ("/d/a.wav go left\n/d/b.wav stop\n", "/d/a.wav go\n/d/b.wav stop\n"),
        ("a.wav go left\nb.wav stop\n", "a.wav go\nb.wav stop\n"),
        ("[1] go left\n[2] stop\n", "[1] go\n[2] stop\n"),
        ("1. go left\n2. stop\n", "1. go\n2. stop\n"),
    ],
)
def test_first_words_that_are_ids(reference, hypothesis):
    assert judged(reference, hypothesis) is True


@pytest.mark.parametrize(
    ("reference", "hypothesis"),
    [
        ("go left\nstop now\n", "go left\nstop cow\n"),
        ("the cat\n", "the hat\n"),
        ("4th of july\n3.5 apples\n", "4th of july\n3.5 apple\n"),
        ("mp3\nb52\n", "mp3\nb51\n"),
        ("bob saw the cat\nthe cat saw bob\n", "bob saw a cat\nthe cat saw bob\n"),
        ("go left\ngo right\n", "go left\ngo right\n"),
        ("alpha go on\nbeta stop\ngamma wait\n", "alpha go\nbeta stop\n"),
    ],
)
def test_first_words_that_are_no_ids(reference, hypothesis):
    assert not judged(reference, hypothesis)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "place"),
    [
        ("ni3 hao3 ma5\n", "ni3 hao3\n", "ref:1: 'ni3'"),
        ("1 2 3\n4 5 6\n", "1 2 3\n4 5 5\n", "ref:1: '1'"),
        (
            "covid19 rose\nmp3 sells\n3 win\n",
            "covid19 rows\nmp3 sells\n3 win\n",
            "ref:1: 'covid19'",
        ),
        ("go left\nstop now\n", "utt1 go left\nutt2 stop now\n", "hyp:1: 'utt1'"),
        (f"{10**19} go\n{10**20} on\n", f"{10**19} go\n{10**20} in\n", f"ref:1: '{10**19}'"),
        ("utt1 go left\nutt2 stop now\n", "go left\nstop now\n", "ref:1: 'utt1'"),
        ("utt1 go left\nutt2 stop\n", "rec_1 go left\nrec_2 stop\n", "ref:1: 'utt1'"),
        # ids that the texts have too
        ("u1 see u2\nu2 see u1\n", "u1 see u2\nu2 see\n", "ref:1: 'u1'"),
        ("utta a b\nuttb c d\nuttc e f\n", "utta a b\nuttb c d\nuttc e g\n", "ref:1: 'utta'"),
    ],
)
def test_ambiguous_first_words_are_refused(reference, hypothesis, place):
    with pytest.raises(
        InputError, match=f"{place} may be an id or a word; expected --ids or --no-ids"
    ):
        judged(reference, hypothesis)


def test_many_ids_may_look_like_words_of_the_text():
    lines = [f"u{n} w{n % 7} w{n % 5}" for n in range(20)]
    assert judged("\n".join(lines), "\n".join(f"{line} w1" for line in lines)) is True
    with pytest.raises(InputError, match="may be an id or a word"):
        judged("\n".join(lines[:5]), "\n".join(lines[:5]))


def test_equal_first_words_that_look_like_words():
    assert judged("go left\nstop now\n", "go left\nstop cow\n") is None
    many = "".join(f"{'abcdefghij'[n // 10] * 3}{'klmnopqrst'[n % 10]} x y\n" for n in range(25))
    with pytest.raises(InputError, match="may be an id or a word"):
        judged(many, many)
