import json
from dataclasses import replace

import pytest
import soundfile
from conftest import run_script
from stream_models import RATE, changing_noise, recognizer_of

from asr.corpus.manifest import Utterance, read_manifest, write_manifest
from asr.decoder import DecoderSettings, save_decoding
from asr.errors import InputError
from asr.evaluation.streams import parse_streams, stream_texts
from asr.model import save_model
from asr.recognizer import load
from asr.streaming.settings import StreamSettings, usual_settings


@pytest.fixture
def folder(tmp_path):
    """A model, and a manifest of three recordings whose texts a random network does not find."""
    save_model(tmp_path / "model", recognizer_of().model)
    utterances = []
    for number, duration in enumerate((1.1, 2.0, 2.9)):
        path = tmp_path / f"{number}.wav"
        waveform = changing_noise(duration, number).numpy()
        soundfile.write(path, waveform, RATE, subtype="FLOAT")
        utterances.append(Utterance(path.stem, str(path), len(waveform) / RATE, "a b c"))
    write_manifest(tmp_path / "test.jsonl", utterances)
    return tmp_path


def test_streams_with_one_long_chunk_have_the_texts_of_files(folder):
    recognizer, utterances = load(folder / "model", "cpu"), read_manifest(folder / "test.jsonl")
    found = stream_texts(recognizer, utterances, StreamSettings(10.0, pause_s=100.0))
    assert found == [recognizer.transcribe(utterance.audio).text for utterance in utterances]
    cut = stream_texts(
        recognizer, utterances, StreamSettings(0.2, 0.1, pause_s=100.0, reread_s=0.0)
    )
    assert cut != found


def test_results_have_a_row_for_each_setting_and_a_picture(folder, capsys):
    given = ("--model", folder / "model", "--manifest", folder / "test.jsonl", "--device", "cpu")
    streams = "chunk_s=0.4,right_s=0.2; chunk_s=10,right_s=0,pause_s=100"
    run_script("recipes/evaluate.py", *given, "--stream", streams)
    out = folder / "model" / "test"
    systems = {
        one["name"]: one for one in json.loads((out / "results.json").read_text())["systems"]
    }
    assert list(systems) == ["greedy", "greedy-stream-0.4-0.2", "greedy-stream-10-0-pause_s=100"]
    whole, _, long = systems.values()
    assert [one.get("latency_s") for one in systems.values()] == [None, pytest.approx(0.6), 10.0]
    assert (long["wer"], long["over"], long["gain"]) == (whole["wer"], "greedy", 0.0)
    assert long["decoding"]["stream"]["pause_s"] == 100.0
    assert (out / "hypotheses.greedy-stream-0.4-0.2.txt").exists()
    assert (out / "latency.greedy.png").stat().st_size > 5000
    assert "; latency 0.6 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("chunk_s", "'chunk_s'; expected pairs such as chunk_s=1.0,right_s=0.5"),
        ("chunk_s=1;", "''; expected pairs such as chunk_s=1.0,right_s=0.5"),
        ("chunk_s=0", "'chunk_s=0': chunk_s is 0.0; expected more than 0"),
        ("left_s=1", "'left_s=1': unknown setting left_s; expected one of"),
        (
            "chunk_s=1, chunk_s=2",
            "'chunk_s=1, chunk_s=2': chunk_s is given twice; expected it once",
        ),
        ("chunk_s=1,right_s=0.5;chunk_s=1.0", "'chunk_s=1.0': has the settings of another stream"),
    ],
)
def test_settings_that_are_none_are_refused(text, line):
    with pytest.raises(InputError, match=f"^{line}"):
        parse_streams([text], recognizer_of().model)


def test_settings_that_are_left_out_are_those_of_the_network():
    model = recognizer_of(chunk_frames=20, right_frames=5).model
    (own, other) = parse_streams(["pause_s=0.5; right_s=1,reread_s=2"], model)
    assert own == replace(usual_settings(model), pause_s=0.5)
    assert (own.chunk_s, own.reread_s) == (pytest.approx(0.4), 0.0)
    assert (other.chunk_s, other.right_s, other.reread_s) == (own.chunk_s, 1.0, 2.0)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["--stream", "chunk_s=0.01"],
            "--stream is 'chunk_s=0.01': chunk_s is 0.01; expected 0.02",
        ),
        (["--stream", "max_segment_s=0.01"], "--stream is 'max_segment_s=0.01': max_segment_s is"),
        (["--decoder", "flashlight", "--stream", "chunk_s=1"], "--stream: decoder is flashlight"),
    ],
)
def test_streams_that_cannot_be_are_refused_before_any_work(folder, options, line, capsys):
    given = ("--model", folder / "model", "--manifest", folder / "nope.jsonl", "--device", "cpu")
    with pytest.raises(SystemExit, match="2"):
        run_script("recipes/evaluate.py", *given, *options)
    assert f"evaluate: error: {line}" in capsys.readouterr().err


def test_a_tuned_decoder_that_cannot_stream_is_refused_too(folder, capsys):
    save_decoding(folder / "model", DecoderSettings("flashlight"))
    given = ("--model", folder / "model", "--manifest", folder / "nope.jsonl", "--device", "cpu")
    with pytest.raises(SystemExit, match="2"):
        run_script("recipes/evaluate.py", *given, "--stream", "chunk_s=1")
    assert "--stream: decoder is flashlight, which needs whole" in capsys.readouterr().err
