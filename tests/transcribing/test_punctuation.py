import json
import re

import pytest
import torch
from safetensors.torch import load_file
from taggers import full_stops, save_full_stops

from asr.alignment.times import Word
from asr.alignment.transcript import Transcript, joined
from asr.errors import InputError
from asr.folder import write_description
from asr.networks.tagger import Tagger, TaggerSettings
from asr.transcribing.punctuation import (
    FormatPunctuation,
    Punctuation,
    choose_punctuation,
    load_punctuation,
    save_punctuation,
)

WORDS = (Word("A", 0.1, 0.3, 0.9), Word("mcnab", 0.5, 0.7, 0.4))


def transcript():
    return Transcript("A mcnab", -1.0, 2.0, lambda: WORDS)


def test_only_the_spelling_of_words_changes():
    found = full_stops({"mcnab": "McNab"}).punctuate(transcript())
    assert found.text == "A. McNab."
    assert found.words == (Word("A.", 0.1, 0.3, 0.9), Word("McNab.", 0.5, 0.7, 0.4))
    assert (found.log_prob, found.duration) == (-1.0, 2.0)


def test_segments_have_their_words():
    long = joined([(0.0, transcript()), (3.0, transcript())], 6.0)
    found = full_stops().punctuate(long)
    assert [segment.text for segment in found.segments] == ["A. Mcnab.", "A. Mcnab."]
    for segment, plain in zip(found.segments, long.segments, strict=True):
        assert (segment.start, segment.end) == (plain.start, plain.end)
        assert segment.confidence == plain.confidence
    assert full_stops().punctuate(Transcript("", 0.0, 1.0)).text == ""


@pytest.mark.parametrize("half", [True, False])
def test_a_saved_tagger_is_loaded(tmp_path, half):
    torch.manual_seed(0)
    tagger = Tagger(["he", "came"], TaggerSettings(6, 20, "lstm", 8, 1)).eval()
    saved = Punctuation(tagger, {"mcnab": "McNab"}, {"words": 2})
    save_punctuation(tmp_path, saved, half)
    loaded = load_punctuation(tmp_path)
    assert (loaded.spellings, loaded.trained_on) == (saved.spellings, saved.trained_on)
    assert (loaded.tagger.words, loaded.tagger.settings) == (tagger.words, tagger.settings)
    words = ["he", "came", "late", "he"]
    for one, other in zip(tagger.log_probs(words), loaded.tagger.log_probs(words), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-2 if half else 0)
    weights = load_file(tmp_path / "weights.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.float16 if half else torch.float32}


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("kind", "rnnlm", "kind is 'rnnlm'; expected punctuation"),
        ("words", ["a", "a"], "words has 'a' twice; expected each word once"),
        ("words", ["a", 1], r"words is \['a', 1\]; expected a list of words"),
        ("spellings", {"a": "B"}, "the spelling of 'a' is 'B'; expected the same letters"),
        ("spellings", None, "spellings is None; expected values by name"),
        ("words", ["a"], r"of_words.weight is float32 \[3, 4\]; expected float32 \[2, 4\]"),
    ],
)
def test_damaged_folders_are_refused(tmp_path, part, value, message):
    save_full_stops(tmp_path)
    folder = tmp_path / "punctuation"
    description = json.loads((folder / "model.json").read_text())
    write_description(folder, description | {part: value})
    with pytest.raises(InputError, match=message):
        load_punctuation(folder)


def test_subtitles_have_punctuation_if_there_is_a_tagger(tmp_path):
    formats = ["txt", "srt", "json", "vtt"]
    assert choose_punctuation(tmp_path, formats) == FormatPunctuation()
    save_full_stops(tmp_path)

    def marked(asked):
        found = choose_punctuation(tmp_path, formats, asked).versions(transcript(), formats)
        return [name for name, version in found.items() if version.text == "A. Mcnab."]

    assert marked(None) == ["srt", "vtt"]
    assert marked(True) == formats
    assert marked(False) == []


def test_a_missing_tagger_is_refused_only_if_it_is_asked_for(tmp_path):
    assert choose_punctuation(tmp_path, ["srt"], False).punctuation is None
    message = re.escape(f"{tmp_path / 'punctuation'}: does not exist; expected a punctuation model")
    with pytest.raises(InputError, match=message):
        choose_punctuation(tmp_path, ["txt"], True)
