import json

import pytest

from asr.errors import InputError
from asr.scoring.recordings import Recording, find_recordings, playing_notes, word_starts
from asr.scoring.transcripts import read_pairs


@pytest.fixture
def write(tmp_path):
    def write(name, *lines):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return write


def row(**values):
    return json.dumps(values)


def references_of(pairs):
    return [said for said, _ in pairs.entries]


def starts_of(pairs):
    texts = zip(pairs.entries, pairs.hypotheses, strict=True)
    return [word_starts(said, heard, text) for (said, heard), text in texts]


def test_recordings_are_those_that_the_manifest_names(write, tmp_path):
    audio = write("wav/a.flac")
    write("wav/c.sph")
    manifest = write(
        "test.jsonl",
        row(id="u1", audio="wav/a.flac", text="a", duration=2.0, offset=1.5),
        row(id="u2", audio="wav/b.flac", text="b", duration=2.0),
        row(id="u3", audio="wav/c.sph", text="c", duration=2.0),
        row(id="u4", audio=str(audio), text="d", duration=2.0),
    )
    pairs = read_pairs(manifest, manifest)
    found = find_recordings(references_of(pairs), None)
    assert found == [Recording(audio, 1.5, 3.5), None, None, Recording(audio, None, None)]
    assert playing_notes([pairs], found) == [
        f"2 utterances can't be played, such as {tmp_path}/wav/b.flac: there is no such file,"
        " there are several of its name, or browsers don't play its format"
    ]


def test_recordings_in_a_folder_are_found_by_path_name_and_id(write, tmp_path):
    paths = [write(f"wav/{name}") for name in ("s1/a.wav", "s2/a.wav", "b.opus", "rec1.flac")]
    manifest = write(
        "other/test.jsonl",
        row(id="u1", audio="s1/a.wav", text="a"),
        row(id="u2", audio="s2/a.wav", text="a"),
        row(id="b", audio="elsewhere/b.sph", text="b"),
        row(id="none", audio="nowhere.wav", text="b"),
        row(id="a", audio="/elsewhere/s2/a.wav", text="a"),  # which of both?
    )
    found = find_recordings(references_of(read_pairs(manifest, manifest)), tmp_path / "wav")
    assert [each and each.path for each in found] == [*paths[:3], None, None]

    stm = write("ref.stm", "rec1 1 ann 0.50 2.00 a b", "rec1 1 bob 2.00 3.25 c")
    ctm = write("hyp.ctm", "rec1 1 0.60 0.20 a", "rec1 1 2.10 0.20 c", "rec1 1 2.50 0.2 d")
    pairs = read_pairs(stm, ctm)
    found = find_recordings(references_of(pairs), tmp_path / "wav")
    assert found == [Recording(paths[3], 0.5, 2.0), Recording(paths[3], 2.0, 3.25)]
    assert starts_of(pairs) == [[0.6], [2.1, 2.5]]


def test_a_folder_without_recordings_is_refused(write, tmp_path):
    reference = write("a/ref.txt", "u1 a", "u2 b")
    pairs = read_pairs(reference, reference, with_ids=True)
    with pytest.raises(InputError, match=r"a: has no recording of any .* expected files such as u"):
        find_recordings(references_of(pairs), tmp_path / "a")
    with pytest.raises(InputError, match=r"ref.txt: is no folder; expected a folder of recordings"):
        find_recordings(references_of(pairs), reference)


def test_times_of_json_are_counted_from_the_utterance(write):
    reference = write(
        "ref.jsonl",
        row(id="u1", text="a b", offset=10, duration=2),
        row(id="u2", text="a b"),
        row(id="u3", text="a b"),
        row(id="u4", text="a b"),
    )
    times = [{"word": "a", "start": 0.5, "end": 1, "confidence": 0.9}, {"word": "c", "start": 1}]
    hypothesis = write(
        "hyp.jsonl",
        row(id="u1", text="a c", words=times),
        row(id="u2", text="a c", words=[["a", 0, 1], ["c", 1.5, 2]]),
        row(id="u3", text="a c d", words=times),
        row(id="u4", text="a c", words=2),
    )
    pairs = read_pairs(reference, hypothesis)
    assert starts_of(pairs) == [[10.5, 11.0], [0.0, 1.5], None, None]
    assert playing_notes([pairs], [None] * 4) == [
        "the times of words are not used in 2 hypotheses, whose times are of other words than those"
        " compared"
    ]
