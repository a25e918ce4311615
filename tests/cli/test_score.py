import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from asr.cli.app import app
from asr.errors import InputError
from asr.scoring.transcripts import Pairs, read_pairs, write_trn


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
        return path

    return write


def json_lines(*objects):
    return "".join(json.dumps(values) + "\n" for values in objects)


def score(*arguments):
    return CliRunner().invoke(app, ["score", *map(str, arguments)])


SAID, HEARD = ["the cat sat", "", "i"], ["the hat sat", "a", ""]


def test_every_file_format_gives_the_same_pairs(write):
    ids = ["utt1", "utt2", "utt3"]
    forms = {}
    for side, texts in (("ref", SAID), ("hyp", HEARD)):
        rows = list(zip(ids, texts, strict=True))
        shuffled = rows if side == "ref" else rows[::-1]
        forms[side] = [
            write(f"{side}.kaldi", "".join(f"{id} {text}\n" for id, text in shuffled)),
            write(f"{side}.tab.txt", "".join(f"a b/{id}.wav\t{text}\n" for id, text in shuffled)),
            write(f"{side}.trn", "".join(f"{text} ({id})\n" for id, text in shuffled)),
            write(f"{side}.jsonl", json_lines(*({"id": i, "text": t} for i, t in shuffled))),
        ]
    for reference in forms["ref"]:
        for hypothesis in forms["hyp"]:
            pairs = read_pairs(reference, hypothesis)
            assert (pairs.references, pairs.hypotheses) == (SAID, HEARD)
    plain = [write("ref.txt", "the cat sat\n\ni\n"), write("hyp.txt", "the hat sat\r\na\r\n\r\n")]
    assert read_pairs(*plain) == Pairs(SAID, HEARD, ids=None)


def test_json_output_pairs_by_audio_path_then_by_stem(write, tmp_path):
    # SA1 is every speaker's in TIMIT: the path tells them apart
    reference = write(
        "test.jsonl",
        json_lines(
            {"id": "FADG0_SA1", "audio": "FADG0/SA1.flac", "text": "she"},
            {"id": "FAKS0_SA1", "audio": "FAKS0/SA1.flac", "text": "had"},
            {"id": "an251-fash-b", "audio": "elsewhere/x.raw", "text": "yes"},
        ),
    )
    hypothesis = write(
        "hyp.jsonl",
        json_lines(
            {"audio": f"{tmp_path}/FAKS0/SA1.flac", "text": "has", "duration": 1.0},
            {"audio": "/somewhere/an251-fash-b.wav", "text": "yes"},
            {"audio": f"{tmp_path}/FAKS0/../FADG0/SA1.flac", "text": "sea"},
        ),
    )
    pairs = read_pairs(reference, hypothesis)
    assert pairs.hypotheses == ["sea", "has", "yes"]
    assert pairs.ids == ["FADG0_SA1", "FAKS0_SA1", "an251-fash-b"]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "paired_by_id"),
    [
        ("hello world\ngood morning\n", "hello word\ngood morning\n", False),
        ("4th of july\n3.5 apples\n", "4th of july\n3.5 apple\n", False),
        ("w1 w2 w3\nw2 w1\n", "w2 w3\nw2 w1\n", False),
        ("mp3\nb52\n", "mp3\nb51\n", False),
        ("an251-fash-b yes\nutt2 mp3 now\n", "utt2 mp3 on\nan251-fash-b yes\n", True),
        ("84-121123-0000 go on\n", "84-121123-0000 go\n", True),
        ("0_1_1 lo ken\n", "0_1_1 lo\n", True),
        ("utt1 a b\n\nutt2 c d\n", "utt1\nutt2\n", True),
        # before a tab: names of files, and - for standard input
        ("go left\n", "-\tgo left\n", False),
        ("go left\nstop\n", "a.wav\tgo left\nnosuffix\tstop\n", False),
        ("anna\tgo left\nbert\tstop\n", "bert\tstop\nanna\tgo\n", True),
    ],
)
def test_ids_are_told_from_words(write, reference, hypothesis, paired_by_id):
    pairs = read_pairs(write("ref.txt", reference), write("hyp.txt", hypothesis))
    assert (pairs.ids is not None) == paired_by_id


def test_ambiguous_first_words_need_an_option(write):
    files = write("ref.txt", "ni3 hao3 ma5\n"), write("hyp.txt", "ni3 hao3\n")
    with pytest.raises(
        InputError, match=r"ref.txt:1: 'ni3' may be an id or a word; expected --ids or"
    ):
        read_pairs(*files)
    assert read_pairs(*files, with_ids=False).references == ["ni3 hao3 ma5"]
    assert read_pairs(*files, with_ids=True).references == ["hao3 ma5"]


def test_ids_of_a_manifest_are_found_in_text_lines(write):
    reference = write("ref.jsonl", json_lines({"id": "x", "text": "a b"}, {"id": "y", "text": "c"}))
    assert read_pairs(reference, write("hyp", "y c\nx a\n")).hypotheses == ["a", "c"]
    assert read_pairs(reference, write("hyp", "a b\nd\n")) == Pairs(
        ["a b", "c"], ["a b", "d"], None
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("hyp.txt", "", "hyp.txt: is empty; expected at least one line"),
        ("hyp.trn", "a b\n", r"hyp.trn:1: has no id at its end; expected: text \(id\)"),
        ("hyp.trn", "{ a / b (utt1)\n", "hyp.trn:1: has '{' without '}'; expected"),
        ("hyp.trn", "a / b } (utt1)\n", "hyp.trn:1: has '}' without '{'; expected"),
        ("hyp.jsonl", "[1]\n", "hyp.jsonl:1: is list; expected a JSON object"),
        ("hyp.jsonl", '{"id": "u1"\n', "hyp.jsonl:1: not JSON"),
        ("hyp.jsonl", '{"id": "u1"}\n', "hyp.jsonl:1: has no 'text'; expected text, and id or"),
        ("hyp.jsonl", '{"id": 1, "text": ""}\n', "hyp.jsonl:1: id is 1; expected text"),
        ("hyp.jsonl", '{"id": "u1", "text": ""}\n{"text": ""}', "hyp.jsonl:2: has neither id nor"),
        (
            "hyp.jsonl",
            '{"text": ""}\n{"text": ""}\n',
            "hyp.jsonl: number of lines is 2; expected 1, as in .*ref.trn",
        ),
        (
            "hyp.txt",
            "utt1 a\nutt1 b\n",
            r"hyp.txt:2: id 'utt1' is also at .*hyp.txt:1; expected each id once",
        ),
        (
            "hyp.txt",
            "utt2 b\nutt1 a\n",
            "hyp.txt: id 'utt2' is not in .*ref.trn; expected the same",
        ),
        (
            "hyp.txt",
            "utt2 b\nutt3 a\n",
            r"ref.trn: id 'utt1' is not in .*hyp.txt; expected the same",
        ),
    ],
)
def test_hypothesis_that_does_not_match_is_refused(write, name, content, message):
    reference = write("ref.trn", "a (utt1)\n")
    with pytest.raises(InputError, match=message):
        read_pairs(reference, write(name, content))


def test_invalid_utf8_is_named_with_its_line(write, tmp_path):
    (tmp_path / "latin1.txt").write_bytes(b"yes\ncaf\xe9\n")
    with pytest.raises(InputError, match=r"latin1.txt:2: has the byte 0xe9; expected UTF-8"):
        read_pairs(tmp_path / "latin1.txt", tmp_path / "latin1.txt")


def test_trn_round_trip_and_special_characters(tmp_path):
    texts = {"an4-1": "a b", "an4-2": ""}
    write_trn(tmp_path / "x.trn", texts)
    assert (tmp_path / "x.trn").read_text() == "a b (an4-1)\n(an4-2)\n"
    pairs = read_pairs(tmp_path / "x.trn", tmp_path / "x.trn")
    assert dict(zip(pairs.ids, pairs.references, strict=True)) == texts
    with pytest.raises(ValueError, match=r"text of u is '\(uh\)'; expected none of"):
        write_trn(tmp_path / "y.trn", {"u": "(uh)"})


def test_json_is_one_object_with_rates_as_fractions(write):
    result = score(
        write("ref.txt", "the cat sat\n\ni\n"),
        write("hyp.txt", "the hat sat\na\n\n"),
        "--format",
        "json",
    )
    assert result.exit_code == 0
    values = json.loads(result.stdout)
    assert 0 <= values.pop("wer_low") < 0.75
    assert values.pop("wer_high") is None  # a sample of the second line alone has no words
    assert values == {
        "wer": 0.75,
        "cer": 0.25,
        "cer_no_spaces": 0.3,
        "substitutions": 1,
        "deletions": 1,
        "insertions": 1,
        "words": 4,
        "characters": 12,
        "characters_no_spaces": 10,
        "utterances": 3,
        "utterances_with_errors": 3,
        "sentence_error_rate": 1.0,
        "paired_by": "line",
    }


def test_text_has_rates_counts_interval_and_confusions(write):
    files = (
        write("ref.txt", "utt1 the cat\nutt2 a b c\n"),
        write("hyp.txt", "utt2 a c\nutt1 the hat\n"),
    )
    result = score(*files, "--alignments")
    assert result.exit_code == 0
    assert result.stdout == (
        "utt1\nREF:  the cat\nHYP:  the hat\nEval:     S\n\n"
        "utt2\nREF:  a b c\nHYP:  a * c\nEval:   D\n\n"
        "WER  40.00 %  (95 % interval 33.33 to 50.00)\n"
        "     1 substitutions, 1 deletions and 0 insertions in 5 words\n"
        "CER  25.00 %  of 12 characters, including spaces between words\n"
        "     22.22 %  of 9 characters without spaces\n"
        "SER  100.00 %  2 of 2 utterances have errors (paired by id)\n\n"
        "most frequent errors (reference -> hypothesis)\n"
        "    1  b -> *\n"
        "    1  cat -> hat\n"
    )


def test_words_are_compared_unchanged_unless_normalised(write):
    files = write("ref.txt", "It’s fine.\n"), write("hyp.txt", "it's fine\n")
    plain = json.loads(score(*files, "--format", "json").stdout)
    assert plain["wer"] == plain["wer_low"] == plain["wer_high"] == 1.0
    assert json.loads(score(*files, "--format", "json", "--normalise").stdout)["wer"] == 0.0


def test_no_reference_words_give_an_infinite_rate(write):
    files = write("ref.txt", "\n"), write("hyp.txt", "a\n")
    values = json.loads(score(*files, "--format", "json").stdout)
    assert (values["wer"], values["insertions"], values["words"]) == (None, 1, 0)
    assert "WER  infinite %" in score(*files).stdout


def python(*arguments, cwd):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)


def test_bad_input_gives_one_line_and_status_1(write, tmp_path):
    write("ref.txt", "a\nb\n")
    write("hyp.txt", "a\n")
    for hypothesis, message in (
        (
            "hyp.txt",
            "asr score: hyp.txt: number of lines is 1; expected 2, as in ref.txt;"
            " or --ids if every line begins with its id\n",
        ),
        ("nope.txt", "asr score: nope.txt: can't be read: No such file or directory\n"),
    ):
        ended = python("-m", "asr.cli", "score", "ref.txt", hypothesis, cwd=tmp_path)
        assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", message)


def test_wrong_usage_exits_with_2(write):
    file = write("ref.txt", "a\n")
    assert score(file).exit_code == 2
    assert score(file, file, "--format", "yaml").exit_code == 2
    assert score(file, file, "--format", "json", "--alignments").exit_code == 2


def test_score_does_not_import_torch(write, tmp_path):
    for name in ("ref.txt", "hyp.txt"):
        write(name, "a b c\n" * 130)
    program = (
        "import sys; sys.argv = ['asr', 'score', 'ref.txt']\n"
        "sys.argv += ['ref.txt', 'hyp.txt', '--format', 'html']\n"
        "from asr.cli.app import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code in (0, None)\n"
        "assert not {'torch', 'lightning', 'librosa'} & set(sys.modules)"
    )
    assert python("-c", program, cwd=tmp_path).returncode == 0


def table_rows(output):
    return [line.split() for line in output.splitlines()]


def test_several_systems_are_rows_of_one_table(write):
    reference = write("ref.txt", "utt1 the cat\nutt2 a b c\n")
    first = write("one.txt", "utt2 a c\nutt1 the hat\n")
    second = write("two.trn", "the cat (utt1)\na b d e (utt2)\n")
    result = score(reference, first, second, "--alignments", "--ids")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "utt1  one.txt\nREF:  the cat\nHYP:  the hat\nEval:     S\n\n"
        "utt2  one.txt\nREF:  a b c\nHYP:  a * c\nEval:   D\n\n"
        "utt2  two.trn\nREF:  a b c *\nHYP:  a b d e\nEval:     S I\n\n"
        "system   WER %   95 % interval  S  D  I  CER %   SER %       p\n"
        "one.txt  40.00  33.33 to 50.00  1  1  0  25.00  100.00\n"
        "two.trn  40.00   0.00 to 66.67  1  0  1  25.00   50.00  1.0000\n"
        "\n"
        "2 utterances, 5 words (paired by id); p: two-sided, paired, against one.txt\n"
    )
    values = json.loads(score(reference, first, second, "--ids", "--format", "json").stdout)
    alone = json.loads(score(reference, first, "--ids", "--format", "json").stdout)
    assert alone.items() < values["systems"][0].items()
    assert [system["name"] for system in values["systems"]] == ["one.txt", "two.trn"]


def test_alternatives_with_other_numbers_of_words_have_no_p(write):
    reference = write("ref.trn", "{ a / b c } d (u1)\n")
    first, second = write("a.trn", "a d (u1)\n"), write("b.trn", "b c x (u1)\n")
    values = json.loads(score(reference, first, second, "--format", "json").stdout)
    assert [(each["words"], each["p"]) for each in values["systems"]] == [(2, None), (3, None)]
    assert score(reference, first, second).stdout.splitlines()[-1] == (
        "1 utterances (paired by id); p: two-sided, paired, against a.trn; none if systems fit"
        " alternatives with other numbers of words"
    )


def test_case_counts_for_all_systems_or_for_none(write):
    # sclite's trn makes it irrelevant, and the other file must not be at a disadvantage
    files = write("ref.txt", "u1 Yes\n"), write("a.txt", "u1 yes\n"), write("b.trn", "yes (u1)\n")
    values = json.loads(score(*files, "--ids", "--format", "json").stdout)
    assert [system["wer"] for system in values["systems"]] == [0.0, 0.0]
    values = json.loads(score(*files, "--ids", "--match-case", "--format", "json").stdout)
    assert [system["wer"] for system in values["systems"]] == [1.0, 1.0]


def test_systems_with_other_utterances_are_refused(write):
    reference = write("ref.jsonl", json_lines({"id": "u1", "text": "a"}, {"id": "u2", "text": "b"}))
    by_id = write("id.txt", "u1 a\nu2 b\n")
    for hypothesis, message in (
        (by_id, f"{by_id}: is given twice; expected each hypothesis once"),
        (
            write("line.txt", "a\nb\n"),
            f"{reference.parent}/line.txt: is paired line by line, but {by_id} by id; expected the"
            " same for all hypotheses",
        ),
        (
            write("less.txt", "u1 a\n"),
            f"{reference}: id 'u2' is not in {reference.parent}/less.txt; expected the same ids, or"
            " --missing deletions",
        ),
    ):
        result = score(reference, by_id, hypothesis)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == f"asr score: {message}\n"


def test_ctm_that_is_cut_differently_for_each_system_is_refused(write):
    words = [f"x 1 {n / 2:.2f} 0.30 w{n % 9}" for n in range(120)]
    reference = write("ref.ctm", "\n".join(words) + "\n")
    other = write("a.ctm", "\n".join(words) + "\n")
    late = write("b.ctm", "\n".join([*words[:40], "x 1 20.00 9.00 w", *words[60:]]) + "\n")
    result = score(reference, other, late)
    assert result.stderr == (
        f"asr score: {late}: divides {reference} into other utterances than {other} does; expected"
        " hypotheses in the same format, and for CTM an STM as reference\n"
    )


MANIFEST = [
    {"id": "u1", "text": "a b", "speaker": "ann"},
    {"id": "u2", "text": "c d", "speaker": "bob"},
    {"id": "u3", "text": "e", "speaker": "ann"},
]


def test_groups_of_a_field_are_a_table(write):
    reference = write("ref.jsonl", json_lines(*MANIFEST))
    one, two = write("a.txt", "u1 a b\nu2 x\nu3 e f\n"), write("b.txt", "u1 a b\nu2 c d\nu3 e\n")
    lines = score(reference, one, "--by", "speaker").stdout.split("\n\n")[-1].splitlines()
    assert lines == [
        "speaker  utterances  words   WER %   95 % interval  S  D  I",
        "bob               1      2  100.00                  1  1  0",
        "ann               2      3   33.33  0.00 to 100.00  0  0  1",
    ]
    lines = score(reference, one, two, "--by", "speaker").stdout.split("\n\n")[-1]
    assert [row[:4] for row in table_rows(lines)[1:]] == [
        ["bob", "a.txt", "1", "2"],
        ["bob", "b.txt", "1", "2"],
        ["ann", "a.txt", "2", "3"],
        ["ann", "b.txt", "2", "3"],
    ]
    values = json.loads(score(reference, one, "--by", "speaker", "--format", "json").stdout)
    assert values["by"] == "speaker"
    groups = {each["group"]: each for each in values["groups"]}
    assert list(groups) == ["bob", "ann"]
    assert groups["ann"] == {
        "group": "ann",
        "utterances": 2,
        "wer": 1 / 3,
        "wer_low": 0.0,
        "wer_high": 1.0,
        "substitutions": 0,
        "deletions": 0,
        "insertions": 1,
        "words": 3,
    }


def test_speakers_of_an_stm_are_groups(write):
    reference = write("ref.stm", "x 1 ann 0.00 1.00 a\nx 1 bob 1.00 2.00 b\n")
    hypothesis = write("hyp.ctm", "x 1 0.10 0.20 a\nx 1 1.10 0.20 c\n")
    found = score(reference, hypothesis, "--by", "speaker").stdout.splitlines()[-2:]
    assert [row.split()[:4] for row in found] == [
        ["bob", "1", "1", "100.00"],
        ["ann", "1", "1", "0.00"],
    ]


def test_a_page_is_written_to_stdout_or_a_new_file(write, tmp_path):
    reference = write("ref.jsonl", json_lines(*MANIFEST))
    hypothesis = write("hyp.txt", "u1 a b\nu2 x\nu3 e f\n")
    page = tmp_path / "page.html"
    result = score(reference, hypothesis, "--format", "html")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("<!DOCTYPE html>")
    assert '"by":"speaker"' in result.stdout  # without --by
    written = score(reference, hypothesis, "--format", "html", "--out", page)
    assert (written.exit_code, written.stdout) == (0, "")
    assert page.read_text(encoding="utf-8") == result.stdout
    again = score(reference, hypothesis, "--format", "html", "--out", page)
    assert (again.exit_code, again.stdout) == (1, "")
    assert again.stderr == f"asr score: {page}: already exists; expected a new file\n"


def test_recordings_of_a_page_come_from_a_folder(write, tmp_path):
    files = write("ref.txt", "u1 a\nu2 b\n"), write("hyp.txt", "u1 a\nu2 b\n")
    write("wav/u2.wav", "")
    result = score(*files, "--ids", "--format", "html", "--audio", tmp_path / "wav")
    assert f'"address":"file://{tmp_path}/wav/u2.wav"' in result.stdout
    for option in ("--out", "--audio"):
        assert score(*files, "--ids", option, tmp_path / "new").exit_code == 2
