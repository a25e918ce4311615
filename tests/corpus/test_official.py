import hashlib

import numpy as np
import pytest
import soundfile

from asr.corpus.manifest import Utterance, read_manifest
from asr.corpus.official import (
    Source,
    check_durations,
    check_lengths,
    check_recordings,
    command_line,
    find_recordings,
    locate,
    measure,
    obtain,
    read_facts,
    refuse,
    verify,
    write_facts,
    write_manifests,
)
from asr.errors import InputError

RATE = 8000


@pytest.fixture(autouse=True)
def no_corpora(monkeypatch):
    monkeypatch.delenv("ASR_DATA", raising=False)


def write_noise(path, seed, samples=400, sample_rate=RATE, channels=1, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(-20000, 20000, (samples, channels), np.int16)
    soundfile.write(path, noise, sample_rate, **options)
    return noise


def source(**changes):
    values = {
        "name": "Tiny",
        "folders": ("tiny", "Tiny"),
        "url": "http://127.0.0.1:1/tiny.tar.gz",
        "size": "1 kB",
        "licence": "none",
    }
    return Source(**(values | changes))


def test_a_corpus_is_found_under_the_data_root_or_asr_data(tmp_path, monkeypatch):
    (tmp_path / "mine" / "Tiny").mkdir(parents=True)
    (tmp_path / "shared" / "tiny").mkdir(parents=True)
    assert locate(("tiny", "Tiny"), None) is None
    monkeypatch.setenv("ASR_DATA", str(tmp_path / "shared"))
    assert locate(("tiny", "Tiny"), tmp_path / "mine") == tmp_path / "mine" / "Tiny"
    assert locate(("tiny", "Tiny"), tmp_path) == tmp_path / "shared" / "tiny"
    assert locate(("tiny", "Tiny"), None) == tmp_path / "shared" / "tiny"


def test_a_data_root_that_is_not_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"--data-root .*nowhere: is not a folder"):
        locate(("tiny",), tmp_path / "nowhere")


def test_asr_data_that_is_not_a_folder_is_refused(tmp_path, monkeypatch):
    (tmp_path / "tiny").mkdir()
    monkeypatch.setenv("ASR_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"\$ASR_DATA .*nowhere: is not a folder"):
        locate(("tiny",), tmp_path)


def test_licence_size_and_url_are_printed_before_a_download(tmp_path, capsys):
    with pytest.raises(InputError, match=r"tiny\.tar\.gz: .*refused"):
        obtain(source(), None, tmp_path / "download")
    said = capsys.readouterr().err
    assert all(text in said for text in ("1 kB", "http://127.0.0.1:1/tiny.tar.gz", "licence: none"))


def test_an_unpacked_archive_is_used_again(tmp_path):
    (tmp_path / "download" / "tiny" / "Tiny").mkdir(parents=True)
    assert obtain(source(), None, tmp_path / "download").name == "Tiny"


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.bz2", ".tar"])
def test_an_archive_unpacks_into_a_folder_of_its_name(tmp_path, suffix):
    (tmp_path / "download" / "Tiny-1.1" / "tiny").mkdir(parents=True)
    tiny = source(url=f"http://127.0.0.1:1/Tiny-1.1{suffix}")
    assert obtain(tiny, None, tmp_path / "download") == tmp_path / "download" / "Tiny-1.1" / "tiny"


def test_an_archive_without_the_corpus_is_refused(tmp_path):
    (tmp_path / "download" / "tiny" / "other").mkdir(parents=True)
    with pytest.raises(InputError, match="has no folder tiny; expected Tiny"):
        obtain(source(), None, tmp_path / "download")


def test_a_missing_corpus_without_download_is_refused(tmp_path):
    with pytest.raises(InputError, match="Tiny: can't be downloaded; expected folder tiny under"):
        obtain(source(url=""), None, tmp_path)


def test_recordings_are_found_by_stem_and_the_best_format_is_taken(tmp_path):
    for name in ("b/x.WAV", "b/x.flac", "b/x.txt", "a/y.sph", "a/z.opus"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    expected = {"x": "b/x.flac", "y": "a/y.sph", "z": "a/z.opus"}
    assert find_recordings(tmp_path) == {id: tmp_path / name for id, name in expected.items()}


def test_one_name_in_two_folders_is_refused(tmp_path):
    write_noise(tmp_path / "a" / "x.wav", seed=0)
    write_noise(tmp_path / "b" / "x.wav", seed=0)
    with pytest.raises(InputError, match=r"b/x\.wav: has the same name as .*a/x\.wav"):
        find_recordings(tmp_path)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [(".wav", {}), (".flac", {}), (".sph", {"format": "NIST", "endian": "BIG"})],
)
def test_the_digest_does_not_depend_on_the_audio_format(tmp_path, suffix, options):
    noise = write_noise(tmp_path / f"x{suffix}", seed=0, subtype="PCM_16", **options)
    recordings, problems = measure({"x": tmp_path / f"x{suffix}"}, RATE, exact=True)
    assert problems == []
    assert recordings["x"].samples == 400
    assert recordings["x"].digest == hashlib.sha256(noise.astype("<i2").tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("exact", [True, False])
def test_every_unusable_recording_is_named(tmp_path, exact):
    write_noise(tmp_path / "good.flac", seed=0)
    write_noise(tmp_path / "fast.wav", seed=1, sample_rate=16000)
    write_noise(tmp_path / "stereo.wav", seed=2, channels=2)
    write_noise(tmp_path / "empty.wav", seed=3, samples=0)
    write_noise(tmp_path / "cut.flac", seed=4, samples=30_000)
    cut = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(cut[: len(cut) // 2])
    (tmp_path / "text.wav").write_text("no audio")
    recordings, problems = measure(find_recordings(tmp_path), RATE, exact)
    assert list(recordings) == ["good"]
    found = {line.split(":")[0].rpartition("/")[2]: line for line in problems}
    assert set(found) == {"fast.wav", "stereo.wav", "empty.wav", "cut.flac", "text.wav"}
    assert "has 1 channel at 16000 Hz; expected 1 at 8000" in found["fast.wav"]
    assert "has 2 channels" in found["stereo.wav"]
    assert "has no samples" in found["empty.wav"]


def test_any_format_is_measured_in_seconds_where_no_rate_is_required(tmp_path):
    write_noise(tmp_path / "a.wav", seed=0, samples=8000, sample_rate=16000, channels=2)
    write_noise(tmp_path / "b.flac", seed=1, samples=4410, sample_rate=44100)
    recordings, problems = measure(find_recordings(tmp_path), None, exact=False)
    assert problems == []
    assert {id: item.duration for id, item in recordings.items()} == {"a": 0.5, "b": 0.1}
    wrong = check_durations(recordings, {"a": 0.54, "b": 0.16, "c": 1.0}, slack_s=0.05)
    assert wrong == [f"{tmp_path / 'b.flac'}: has 0.10 s of audio; expected 0.16 s"]


def test_lengths_digests_surplus_and_missing_files_are_all_reported(tmp_path):
    for seed, id in enumerate("abcdefg"):
        write_noise(tmp_path / f"{id}.wav", seed)
    write_facts(tmp_path / "facts.tsv", measure(find_recordings(tmp_path), RATE, exact=True)[0])

    (tmp_path / "b.wav").unlink()
    write_noise(tmp_path / "c.wav", seed=99)
    write_noise(tmp_path / "d.wav", seed=3, samples=300)
    write_noise(tmp_path / "new.wav", seed=0)
    (tmp_path / "f.wav").write_text("no audio")
    files = find_recordings(tmp_path)
    recordings, unreadable = measure(files, RATE, exact=True)
    problems = verify(files, recordings, {*"abcdfg"}, read_facts(tmp_path / "facts.tsv"))
    assert len(unreadable) == 1
    assert problems == sorted(
        [
            "b: has no audio",
            f"{tmp_path}/c.wav: its samples differ from the official recording's",
            f"{tmp_path}/d.wav: has 300 samples; expected 400",
            f"{tmp_path}/e.wav: has no transcript",
            f"{tmp_path}/new.wav: is not part of the corpus",
        ]
    )


def test_facts_are_written_and_then_compared(tmp_path):
    write_noise(tmp_path / "wav" / "a.wav", seed=0)
    files, facts = find_recordings(tmp_path / "wav"), tmp_path / "facts.tsv"
    written = check_recordings("Tiny", files, ["a"], RATE, facts, update=True)
    assert check_recordings("Tiny", files, ["a"], RATE, facts) == written
    write_noise(tmp_path / "wav" / "a.wav", seed=1)
    with pytest.raises(InputError, match=r"Tiny: 1 problem, no manifest written: .*a\.wav: its"):
        check_recordings("Tiny", files, ["a"], RATE, facts)


def test_lengths_are_compared_at_any_rate_and_written_at_one(tmp_path):
    facts = tmp_path / "facts.tsv"
    write_noise(tmp_path / "16000" / "a.wav", seed=0, samples=1600, sample_rate=16000)
    files = find_recordings(tmp_path / "16000")
    recordings = check_lengths("Tiny", files, ["a"], facts, update=True)
    assert recordings["a"].utterance("a", "yes", "s") == Utterance(
        "a", str(tmp_path / "16000" / "a.wav"), 0.1, "yes", "s"
    )
    write_noise(tmp_path / "8000" / "a.wav", seed=0, samples=1000, channels=2)
    write_noise(tmp_path / "8000" / "b.wav", seed=0)  # not in the facts
    files = find_recordings(tmp_path / "8000")
    assert check_lengths("Tiny", files, "ab", facts)["a"].duration == 0.125
    with pytest.raises(InputError, match="Tiny: 2 problems, no manifest"):
        check_lengths("Tiny", files, "ab", facts, update=True)
    write_noise(tmp_path / "8000" / "a.wav", seed=0, samples=200)
    expected = r"Tiny: 3 .*: x; .*b\.wav: has no transcript; .*a\.wav: has 0\.03 s"
    with pytest.raises(InputError, match=expected):
        check_lengths("Tiny", files, ["a"], facts, problems=["x"])


def test_the_error_is_one_line_and_stderr_has_all_problems(capsys):
    refuse([], "Tiny")
    with pytest.raises(InputError, match="Tiny: 5 problems, no manifest written: a; b; c; and 2"):
        refuse([*"abcde"], "Tiny")
    assert capsys.readouterr().err == "a\nb\nc\nd\ne\n"


def utterance(id, audio=None):
    return Utterance(id, f"/audio/{audio or id}.wav", 1.5, "yes no", "s")


def test_manifests_are_written_with_their_form_in_the_name(tmp_path, capsys):
    write_manifests(tmp_path, {"train": [utterance("a"), utterance("b")], "test": [utterance("c")]})
    write_manifests(tmp_path, {"train": [utterance("a")]}, form="phones")
    assert [item.id for item in read_manifest(tmp_path / "train.jsonl")] == ["a", "b"]
    assert read_manifest(tmp_path / "train.phones.jsonl") == [utterance("a")]
    assert "train.jsonl: 2 utterances, 4 words, 1 speakers, 0.00 h" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ([utterance("a")], "a is in train and in test"),
        ([utterance("b", audio="a")], r"/audio/a\.wav is in train and in test"),
        ([], "the test split is empty"),
    ],
)
def test_splits_that_overlap_or_are_empty_are_refused(tmp_path, test, message):
    with pytest.raises(InputError, match=message):
        write_manifests(tmp_path / "out", {"train": [utterance("a")], "test": test})
    assert not (tmp_path / "out").exists()


def test_the_command_line_has_root_and_out(tmp_path):
    arguments = command_line("Tiny.", tmp_path).parse_args(["--data-root", "x"])
    assert (str(arguments.data_root), arguments.out) == ("x", tmp_path)
    assert "--write-facts" not in command_line("Tiny.", tmp_path).format_help()
