import json
from pathlib import Path

import pytest
from benchmarks.score_against_sclite import FILES, our_counts, raw_counts, sclite_files

from asr.errors import InputError
from asr.scoring.transcripts import read_pairs

CTM = "utt1 1 0.1 0.2 go\nutt1 1 0.3 0.2 left\nutt2 1 0.0 0.3 stop\n"


@pytest.fixture
def pairs(tmp_path):
    def pairs(reference, hypothesis, **options):
        (tmp_path / "ref.txt").write_text(reference)
        (tmp_path / "hyp.txt").write_text(hypothesis)
        return read_pairs(tmp_path / "ref.txt", tmp_path / "hyp.txt", **options)

    return pairs


def test_ctm_is_paired_with_id_text_lines(pairs):
    found = pairs("utt1 go left\nutt2 stop\n", CTM)
    assert found.ids == ["utt1", "utt2"]
    assert found.hypotheses == ["go left", "stop"]


def test_utterance_missing_in_the_ctm_may_count_as_deletions(pairs):
    found = pairs("utt1 go left\nutt2 stop\nutt3 now\n", CTM, missing_is_deleted=True)
    assert found.hypotheses == ["go left", "stop", ""]


def test_recordings_match_by_name_from_any_folder(pairs):
    rows = [("a", "wav/0001.wav", "go left"), ("b", "wav/0002.wav", "stop")]
    names = ("id", "audio", "text")
    manifest = "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
    found = pairs(manifest, "0002.wav\tstop\n/elsewhere/0001.wav\tgo\n")
    assert found.ids == ["a", "b"]
    assert found.hypotheses == ["go", "stop"]


def test_alternatives_outside_sclites_formats_are_refused(pairs):
    with pytest.raises(
        InputError, match=r"ref.txt:1: has { a / b }; expected alternatives only in"
    ):
        pairs("u1 { a / b } go\nu2 x\n", "u1 b go\nu2 x\n")
    assert pairs("{ a / b } go (u1)\nx (u2)\n", "u1 b go\nu2 x\n").references == ["b go", "x"]


def test_a_line_without_the_id_that_other_lines_have_is_named(pairs):
    with pytest.raises(InputError, match=r"hyp.txt:2: has no id at its end; expected: text \(id\)"):
        pairs("go (u1)\nstop (u2)\n", "go (u1)\nstop\n")
    with pytest.raises(InputError, match=r"hyp.txt:2: has no tab; expected a tab after the name"):
        pairs("the cat\nthree\n", "d/a.wav\tthe cat\nb three\n")


def test_ids_before_a_tab_in_both_files_must_be_the_same(pairs):
    with pytest.raises(InputError, match=r"id 'bert' is not in .*hyp.txt; expected the same ids"):
        pairs("anna\tgo left\nbert\tstop\n", "anna\tgo left\nberta\tstop\n")
    for lines in ("anna\tgo left\nbert\tstop\n", "go\tleft\nstop\tnow\n"):
        with pytest.raises(InputError, match=r"hyp.txt:1: .* may be an id or a word"):
            pairs("go left\nstop now\n", lines)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("r.txt", "u1 go left\nu2 stop\n"),
        ("r.jsonl", '{"id":"u1","text":"go left"}\n{"id":"u2","text":"stop"}\n'),
        ("r.trn", "go left (u1)\nstop (u2)\n"),
        ("r.stm", "u1 A s 0.0 1.0 go left\nu2 A s 0.0 1.0 stop\n"),
    ],
)
def test_an_empty_file_of_hypotheses_may_count_as_deletions(tmp_path, name, reference):
    (tmp_path / name).write_text(reference)
    (tmp_path / "empty.txt").touch()
    found = read_pairs(tmp_path / name, tmp_path / "empty.txt", missing_is_deleted=True)
    assert (found.references, found.hypotheses) == (["go left", "stop"], ["", ""])
    with pytest.raises(InputError, match=r"empty.txt: is empty; expected at least one line"):
        read_pairs(tmp_path / name, tmp_path / "empty.txt")


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("r.srt", "1\n00:00:00,000 --> 00:00:02,000\ngo left\n"),
        ("r.json", '[{"id": "u1", "text": "go left"}]'),
    ],
)
@pytest.mark.parametrize("content", ["", "\n\n"])
def test_empty_subtitles_and_json_are_called_empty(tmp_path, name, reference, content):
    (tmp_path / name).write_text(reference)
    hypothesis = (tmp_path / "empty").with_suffix(Path(name).suffix)
    hypothesis.write_text(content)
    with pytest.raises(InputError, match=r"empty\.\w+: is empty; expected at least one line"):
        read_pairs(tmp_path / name, hypothesis)
    assert read_pairs(tmp_path / name, hypothesis, missing_is_deleted=True).hypotheses == [""]


def test_composed_and_decomposed_ids_are_the_same(pairs):
    found = pairs('{"id":"ú1","text":"go"}\n{"id":"ú2","text":"no"}\n', "ú2.wav\tno\nú1.wav\tgo\n")
    assert (found.ids, found.hypotheses) == (["ú1", "ú2"], ["go", "no"])


def test_alternatives_are_words_if_the_user_says_that_lines_are_text(pairs):
    found = pairs("a1 { one / two }\na2 x\n", "a1 one\na2 x\n", with_ids=True)
    assert found.references == ["{ one / two }", "x"]


@pytest.mark.parametrize("with_ids", [None, True])
def test_files_without_an_utterance_are_refused(tmp_path, with_ids):
    (tmp_path / "ref.stm").write_text("a 1 x 0.0 1.0 IGNORE_TIME_SEGMENT_IN_SCORING\n")
    (tmp_path / "hyp.ctm").write_text("a 1 0.1 0.2 go\n")
    (tmp_path / "blank.txt").write_text("\n\n")
    files = ("blank.txt", "blank.txt") if with_ids else ("ref.stm", "hyp.ctm")
    with pytest.raises(InputError, match=f"{files[0]}: has no utterance to score; expected at lea"):
        read_pairs(*(tmp_path / name for name in files), with_ids=with_ids)


def test_ignore_case_covers_the_turkish_i(pairs):
    from asr.scoring.notation import Rules

    found = pairs("İstanbul\nx\n", "istanbul\nx\n", rules=Rules(ignore_case=True))
    assert found.references == found.hypotheses


OTHER_OPTIONS = {
    "-c": ("test7_5", "test8", "test9", "test9_1", "test10", "test10_1", "test15_b"),
    "-d": ("test2", "test4", "test5", "test6"),
    "-m": ("test14_a", "test14_b", "test14_c", "test14_d", "test14_e"),
    "-S": ("test7_1", "test7_2", "test7_2a", "test7_3", "test7_4", "test11", "test12"),
    "-T": ("test13_a", "test13_aD"),
}
"""Options that `asr score` does not have -> the reports of sclite's own tests with them."""


@pytest.mark.skipif(sclite_files() is None, reason="needs the files of sclite's own tests")
@pytest.mark.parametrize("row", FILES, ids=[row[0] for row in FILES])
def test_counts_are_those_that_sclites_own_tests_expect(row):
    name, reference, hypothesis, _, options, rules = row
    expected = raw_counts(sclite_files() / "expected" / f"{name}.raw")
    if expected is None:
        pytest.skip("sclite has no report of these files")
    files = sclite_files() / reference, sclite_files() / hypothesis
    assert our_counts(*files, "gb" in options, rules) == expected


@pytest.mark.skipif(sclite_files() is None, reason="needs the files of sclite's own tests")
def test_every_report_of_sclite_is_compared_or_named():
    reports = {path.stem for path in (sclite_files() / "expected").glob("*.raw")}
    others = {name for names in OTHER_OPTIONS.values() for name in names}
    assert reports == others | (reports & {row[0] for row in FILES})
