import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import run_script

from asr.decoder import (
    Decoder,
    DecoderSettings,
    load_decoding,
    make_boosts,
    save_decoding,
)
from asr.errors import InputError
from asr.lm.load import save_rnnlm
from asr.lm.ngram import load_ngram, read_ngram, save_ngram
from asr.lm.rnnlm import RNNLM, RNNLMSettings
from asr.lm.vocabulary import Vocabulary
from asr.networks.ctc import log_probability
from asr.recognizer import load
from asr.search.confidence import ConfidenceWeights
from asr.search.greedy import greedy_search
from asr.search.phrases import PhraseBoosts
from asr.search.space import BeamSettings
from asr.text.lexicon import Lexicon
from asr.text.tokenizer import CharTokenizer, PhoneTokenizer

TOKENIZER = CharTokenizer(("<blank>", " ", "a", "b"))

ARPA = """\\data\\
ngram 1=5

\\1-grams:
-1.0\t<unk>
-99\t<s>
-0.3\t</s>
{a}\ta
{b}\tb

\\end\\
"""


def write_lm(path, a, b):
    """Write a unigram model with the log10 of each word's probability."""
    path.write_text(ARPA.format(a=a, b=b))
    return str(path)


def random_log_probs(T, seed):
    generator = np.random.default_rng(seed)
    return np.log(generator.dirichlet(np.ones(len(TOKENIZER.symbols)), size=T)).astype(np.float32)


def beam(**weights):
    return DecoderSettings("beam", BeamSettings(token_floor=-np.inf, **weights))


def texts(nbests):
    return [" ".join(nbest[0].words) for nbest in nbests]


def test_search_is_greedy_by_default():
    rows = [random_log_probs(T, seed=T) for T in (3, 9)]
    decoder = Decoder.load(DecoderSettings(), TOKENIZER)
    expected = [TOKENIZER.decode(greedy_search(one).tokens).split() for one in rows]
    assert texts(decoder.nbests(rows)) == [" ".join(words) for words in expected]


def test_words_of_a_language_model_are_the_default_lexicon(tmp_path):
    settings = replace(beam(lm_weight=2.0), lm=write_lm(tmp_path / "lm.arpa", a=-2.0, b=-0.1))
    rows = [random_log_probs(T=8, seed=seed) for seed in range(20)]
    nbests = Decoder.load(settings, TOKENIZER).nbests(rows)
    assert {word for nbest in nbests for h in nbest for word in h.words} == {"a", "b"}
    recognised = " ".join(texts(nbests))
    assert recognised.count("b") > 2 * recognised.count("a")  # "b" is 20 times as probable


def test_rescoring_sorts_by_weighted_exact_log_probs(tmp_path):
    lms = [
        write_lm(tmp_path / f"{n}.arpa", a=a, b=b) for n, (a, b) in enumerate([(-1, -2), (-3, 0)])
    ]
    settings = replace(
        beam(beam_width=8, n_best=8), rescorers=tuple(lms), lm_weights=(0.5, 1.5), word_bonus=0.25
    )
    log_probs = random_log_probs(T=6, seed=3)
    (nbest,) = Decoder.load(settings, TOKENIZER).nbests([log_probs])

    def score(hypothesis):
        n_a, n_b = hypothesis.words.count("a"), hypothesis.words.count("b")
        n_unknown = len(hypothesis.words) - n_a - n_b
        first = -0.3 - n_a - 2 * n_b - n_unknown
        second = -0.3 - 3 * n_a - n_unknown
        language = np.log(10) * (0.5 * first + 1.5 * second)
        return hypothesis.log_prob + language + 0.25 * len(hypothesis.words)

    for hypothesis in nbest:
        assert hypothesis.score == pytest.approx(score(hypothesis), rel=1e-5)
    scores = [hypothesis.score for hypothesis in nbest]
    assert scores == sorted(scores, reverse=True)
    one = nbest[0]
    exact = log_probability(torch.from_numpy(log_probs), one.tokens)
    assert one.log_prob >= exact - 1e-4  # other spellings of the same words may add to it


def test_boosted_phrases_are_recognised_more_often():
    rows = [random_log_probs(T=8, seed=seed) for seed in range(20)]
    plain = Decoder.load(beam(), TOKENIZER).nbests(rows)
    boosted = Decoder.load(beam(), TOKENIZER, phrases={"ab": 3.0}).nbests(rows)
    said = [sum("ab" in text.split() for text in texts(found)) for found in (plain, boosted)]
    assert said[1] > said[0]


def test_words_of_phrases_are_added_to_the_lexicon(tmp_path):
    (tmp_path / "words.txt").write_text("a\n")
    settings = replace(beam(), lexicon=str(tmp_path / "words.txt"))
    rows = [random_log_probs(T=8, seed=seed) for seed in range(20)]
    for phrases, expected in ((None, {"a"}), ({"bab": 3.0}, {"a", "bab"})):
        nbests = Decoder.load(settings, TOKENIZER, phrases=phrases).nbests(rows)
        assert {word for nbest in nbests for h in nbest for word in h.words} == expected


def test_words_of_phrases_share_unk_with_words_of_the_lexicon(tmp_path):
    (tmp_path / "words.txt").write_text("a\naa\naab\n")  # the language model knows only "a"
    lm = write_lm(tmp_path / "lm.arpa", a=-1.0, b=-2.0)
    settings = replace(
        beam(lm_weight=1.0, n_best=3000, beam_width=3000),
        lm=lm,
        lexicon=str(tmp_path / "words.txt"),
    )
    decoder = Decoder.load(settings, TOKENIZER, phrases={"b": 1.0, "bab": 1.0})
    (nbest,) = decoder.nbests([random_log_probs(T=6, seed=0)])
    found = {h.words[0]: h.lm_log_prob / np.log(10) for h in nbest if len(h.words) == 1}
    share = -1.0 - np.log10(3)  # <unk> is divided among aa, aab and bab
    expected = {"a": -1.0, "b": -2.0, "aa": share, "aab": share, "bab": share}
    assert found == pytest.approx({word: p - 0.3 for word, p in expected.items()}, rel=1e-5)


def test_words_of_phrases_are_looked_up_in_a_kenlm_file(tmp_path, monkeypatch):
    pytest.importorskip("kenlm", reason="kenlm-ex, of the extra [kenlm], is not installed")
    monkeypatch.setattr("asr.lm.load.KENLM_MAGIC", b"\\data\\")
    lm = Path(write_lm(tmp_path / "lm.arpa", a=-1.0, b=-2.0))
    bigrams = "ngram 1=5\nngram 2=1\n", "\\2-grams:\n-0.5\ta b\n\n\\end\\"
    lm.write_text(lm.read_text().replace("ngram 1=5\n", bigrams[0]).replace("\\end\\", bigrams[1]))
    (tmp_path / "words.txt").write_text("a\n")
    settings = replace(beam(lm_weight=1.0), lm=str(lm), lexicon=str(tmp_path / "words.txt"))
    decoder = Decoder.load(settings, TOKENIZER, phrases={"b": 1.0})
    assert decoder.space.lm.vocabulary.symbols == ("<unk>", "<eos>", "a", "b")
    assert decoder.space.units.tolist() == [2, 3, 1]
    with pytest.raises(InputError, match=r"lm\.arpa: can't list its words; expected a lexicon"):
        Decoder.load(replace(settings, lexicon=""), TOKENIZER, phrases={"b": 1.0})


def test_all_pronunciations_of_a_phrase_are_boosted():
    lexicon = Lexicon({"a": (("AH",), ("EY",)), "eh": (("EY",),), "b": (("B", "IY"),)})
    phones = PhoneTokenizer.from_lexicon(lexicon)  # AH, B, EY, IY
    found = make_boosts({"a  b": 1.0, "a": 2.0, "eh": 3.0}, phones)
    expected = {(1, 2, 4): 1.0, (3, 2, 4): 1.0, (1,): 2.0, (3,): 3.0}
    expected = PhraseBoosts.build(expected, None, 5)
    for name in ("after", "entry_bonus", "taken_back", "end_bonus"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize(
    ("phrases", "message"),
    [
        ({" ": 1.0}, "phrase ' ': has no word; expected one or more"),
        ({"a": np.inf}, "phrase 'a': its boost is inf; expected nats"),
        ({"a z": 1.0}, r"phrase 'a z': character 'z' .* is not in the alphabet"),
    ],
)
def test_invalid_phrases_are_reported(phrases, message):
    with pytest.raises(InputError, match=message):
        Decoder.load(beam(), TOKENIZER, phrases=phrases)


def test_words_that_the_tokens_can_not_spell_are_reported(tmp_path, capsys):
    words = tmp_path / "words.txt"
    words.write_text("a\nzed\n")
    Decoder.load(replace(beam(), lexicon=str(words)), TOKENIZER)
    line = f"{words}: 1 of 2 words left out, which the acoustic model's tokens can't spell: zed\n"
    assert capsys.readouterr().err == line
    words.write_text("zed\n")
    message = r"words.txt: the acoustic model's tokens .* spell none of its 1 words, such as 'zed';"
    with pytest.raises(InputError, match=message):
        Decoder.load(replace(beam(), lexicon=str(words)), TOKENIZER)


CAPITALS = CharTokenizer(("<blank>", " ", "A", "B"))
"""Tokens of a model whose texts are in upper case, like LibriSpeech's."""


@pytest.mark.parametrize("kind", ["arpa", "capitals", "ngram", "rnnlm"])
@pytest.mark.parametrize("lexicon", ["", "a\nb\n", "A\nB\n", "b  B IY\na  AH\n"])
def test_words_of_files_are_converted_to_the_models_case(tmp_path, kind, lexicon):
    """Words and scores are the same as with a model in lower case."""
    arpa = write_lm(tmp_path / "lm.arpa", a=-2.0, b=-0.1)
    paths = {"arpa": arpa, "capitals": str(tmp_path / "CAPITALS.arpa")}
    text = Path(arpa).read_text().replace("\ta", "\tA").replace("\tb", "\tB")
    Path(paths["capitals"]).write_text(text)
    for name, save in (("ngram", save_ngram_of(arpa)), ("rnnlm", save_an_rnnlm)):
        save(tmp_path / name)
        paths[name] = str(tmp_path / name)
    (tmp_path / "words.txt").write_text(lexicon)
    settings = replace(
        beam(lm_weight=2.0),
        lm=paths[kind],
        lexicon=str(tmp_path / "words.txt") if lexicon else "",
        rescorers=(paths[kind],),
        lm_weights=(1.0,),
    )
    rows = [random_log_probs(T=8, seed=seed) for seed in range(5)]
    phrases = {"b a": 0.5, "A B": 0.25}
    small = Decoder.load(settings, TOKENIZER, phrases=phrases).nbests(rows)
    capitals = Decoder.load(settings, CAPITALS, phrases=phrases).nbests(rows)
    for some, others in zip(small, capitals, strict=True):
        assert [[w.upper() for w in h.words] for h in some] == [list(h.words) for h in others]
        np.testing.assert_allclose([h.score for h in some], [h.score for h in others], rtol=1e-6)
    assert {word for nbest in capitals for h in nbest for word in h.words} == {"A", "B"}


def save_ngram_of(arpa):
    return lambda folder: save_ngram(folder, read_ngram(arpa), {}, {})


def save_an_rnnlm(folder):
    torch.manual_seed(0)
    settings = RNNLMSettings(embedding_size=4, hidden_size=4)
    save_rnnlm(folder, RNNLM(Vocabulary.from_texts(["a b"]), settings), {})


def test_of_two_spellings_the_one_in_the_models_case_is_used(tmp_path, capsys):
    tokenizer = CharTokenizer(("<blank>", " ", *"ehnsu"))
    words = "essen Essen Hunes"
    lines = "".join(f"-1\t{word}\n" for word in words.split())
    text = ARPA.replace("ngram 1=5", "ngram 1=6").replace("{a}\ta\n{b}\tb\n", lines)
    (tmp_path / "lm.arpa").write_text(text)
    decoder = Decoder.load(replace(beam(), lm=str(tmp_path / "lm.arpa")), tokenizer)
    assert decoder.space.lexicon.words == ("essen", "Essen", "hunes")  # "Essen" has no spelling
    assert "1 of 3 words left out, which the acoustic model's tokens can't spell: Essen" in (
        capsys.readouterr().err
    )


def test_a_moved_folder_decodes_with_its_tuned_settings(tone_model, tmp_path):
    lm = write_lm(tmp_path / "lm.arpa", a=-3.0, b=-0.1)
    (tmp_path / "words.txt").write_text("a\nb\n")
    settings = replace(
        beam(lm_weight=1.5, word_bonus=0.5),
        lm=lm,
        lexicon=str(tmp_path / "words.txt"),
        rescorers=(lm,),
        lm_weights=(2.0,),
        word_bonus=1.0,
    )
    shutil.copytree(tone_model, tmp_path / "one")
    save_decoding(tmp_path / "one", settings)
    shutil.move(tmp_path / "one", tmp_path / "two")
    for file in (tmp_path / "lm.arpa", tmp_path / "words.txt"):
        file.unlink()
    found = load_decoding(tmp_path / "two")
    assert found.beam == settings.beam
    assert (found.lm_weights, found.word_bonus) == ((2.0,), 1.0)
    recognizer = load(tmp_path / "two")
    audio = tone_model.parent / "tones" / "dev03.wav"
    assert set(recognizer.transcribe(audio).text.split()) <= {"a", "b"}
    assert recognizer.decoder.space.lm is not None
    assert len(recognizer.decoder.rescorers) == 1
    assert load(tmp_path / "two", decoder="greedy").decoder.space is None
    assert load_decoding(tone_model) is None


def test_a_language_model_that_lacks_tokens_is_reported(tmp_path):
    lm = RNNLM(Vocabulary.from_texts(["a"], "char"), RNNLMSettings(hidden_size=4, embedding_size=4))
    save_rnnlm(tmp_path / "lm", lm, {})
    settings = replace(beam(lm_weight=1.0), lm=str(tmp_path / "lm"))
    with pytest.raises(InputError, match=r"/lm: the language model has no unit for token 1, ' '"):
        Decoder.load(settings, TOKENIZER)


def test_recurrent_models_can_compute_in_half_precision(tmp_path):
    torch.manual_seed(0)
    lm = RNNLM(Vocabulary.from_texts(["a b"]), RNNLMSettings(hidden_size=32, embedding_size=16))
    save_rnnlm(tmp_path / "lm", lm, {})
    path = str(tmp_path / "lm")
    settings = replace(beam(lm_weight=1.0), lm=path, rescorers=(path,), lm_weights=(0.5,))
    totals = {}
    for precision in ("float32", "bfloat16"):
        decoder = Decoder.load(replace(settings, lm_precision=precision), TOKENIZER)
        assert decoder.rescorers[0].embeddings.dtype == getattr(torch, precision)
        assert decoder.space.lm.embeddings.dtype == getattr(torch, precision)
        (nbest,) = decoder.nbests([random_log_probs(6, 0)])
        totals[precision] = {one.words: one.total for one in nbest}
    assert totals["bfloat16"] == pytest.approx(totals["float32"], abs=0.1)
    assert totals["bfloat16"] != totals["float32"]
    save_decoding(tmp_path / "model", replace(settings, lm_precision="bfloat16"))
    assert load_decoding(tmp_path / "model").lm_precision == "bfloat16"


def test_only_the_two_files_of_a_language_model_are_copied(tmp_path):
    lm = read_ngram(write_lm(tmp_path / "lm.arpa", a=-0.3, b=-0.1))
    save_ngram(tmp_path / "lm", lm, {}, {})
    shutil.move(tmp_path / "lm.arpa", tmp_path / "lm" / "ngram.arpa")
    (tmp_path / "model").mkdir()
    settings = replace(beam(lm_weight=1.5), lm=str(tmp_path / "lm"))
    for _ in range(2):  # the second time over existing files
        save_decoding(tmp_path / "model", settings)
    shutil.rmtree(tmp_path / "lm")
    found = load_decoding(tmp_path / "model")
    files = sorted(path.name for path in Path(found.lm).iterdir())
    assert files == ["model.json", "weights.safetensors"]
    assert torch.equal(load_ngram(found.lm).trie.log_probs, lm.trie.log_probs)


def test_arguments_override_the_folders_settings(tone_model, tmp_path):
    lm = write_lm(tmp_path / "lm.arpa", a=-0.3, b=-0.3)
    decoder = load(tone_model, lm=lm, beam_width=7).decoder
    assert decoder.settings.decoder == "beam"
    assert decoder.space.settings.beam_width == 7
    assert decoder.space.settings.lm_weight > 0
    assert load(tone_model, decoder="beam").decoder.space.lm is None
    with pytest.raises(InputError, match="decoder is greedy, which uses the acoustic model alone"):
        load(tone_model, decoder="greedy", lm=lm)
    with pytest.raises(InputError, match="decoder is 'viterbi'; expected greedy, beam"):
        load(tone_model, decoder="viterbi")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "decoding.json: not JSON"),
        ('{"decoder": "beam", "lm": 3}', "decoding.json: lm is '3'; expected str"),
        ('{"decoder": "beam", "width": 3}', "decoding.json: unknown setting width"),
        (
            '{"word_bonus": NaN}',
            "decoding.json: has NaN; expected a finite number",
        ),
        (
            '{"confidence": {"bias": 0, "acoustic": 1, "posterior": 1, "scale": 0}}',
            "decoding.json: .*a scale above 0",
        ),
        ('{"rescorers": ["a"]}', "lm_weights has 0 numbers; expected one for each of the 1"),
    ],
)
def test_a_damaged_decoding_file_is_reported(tmp_path, text, message):
    (tmp_path / "decoding.json").write_text(text)
    with pytest.raises(InputError, match=message):
        load_decoding(tmp_path)


@pytest.mark.parametrize(("setting", "size"), [("lm", (1 << 36) + 1), ("lexicon", (1 << 27) + 1)])
def test_a_file_of_a_model_has_a_maximum_size(tmp_path, setting, size):
    (tmp_path / "big").touch()
    os.truncate(tmp_path / "big", size)
    (tmp_path / "decoding.json").write_text(f'{{"decoder": "beam", "{setting}": "big"}}')
    with pytest.raises(InputError, match=rf"big: has {size:,} bytes; expected at most"):
        load_decoding(tmp_path)


def test_saved_settings_are_plain_json(tmp_path):
    save_decoding(tmp_path, beam(lm_weight=1.5))
    values = json.loads((tmp_path / "decoding.json").read_text())
    assert values["decoder"] == "beam"
    assert values["beam"]["lm_weight"] == 1.5


def test_settings_of_earlier_releases_are_read(tmp_path):
    save_decoding(tmp_path, DecoderSettings("beam"))
    values = json.loads((tmp_path / "decoding.json").read_text())
    values["beam"]["unk_bonus"] = 0.0
    (tmp_path / "decoding.json").write_text(json.dumps(values))
    assert load_decoding(tmp_path) == DecoderSettings("beam")


def test_confidence_weights_are_saved_and_are_dropped_with_the_search(tone_model, tmp_path):
    lm = write_lm(tmp_path / "lm.arpa", a=-0.3, b=-0.3)
    weights = ConfidenceWeights(bias=-0.5, acoustic=0.25, posterior=1.0, scale=0.5)
    shutil.copytree(tone_model, tmp_path / "model")
    save_decoding(tmp_path / "model", replace(beam(), confidence=weights))
    assert load_decoding(tmp_path / "model").confidence == weights
    assert load(tmp_path / "model", beam_width=7).decoder.settings.confidence == weights
    assert load(tmp_path / "model", decoder="beam").decoder.settings.confidence == weights
    assert load(tmp_path / "model", lm=lm).decoder.settings.confidence is None
    assert load(tmp_path / "model", decoder="greedy").decoder.settings.confidence is None


def test_files_without_confidence_weights_give_acoustic_confidences(tmp_path):
    (tmp_path / "decoding.json").write_text('{"decoder": "beam"}')
    assert load_decoding(tmp_path).confidence is None


def test_a_phone_model_is_decoded_to_words(tones, tmp_path):
    (tmp_path / "lexicon.dic").write_text("a AH\nb B IY\n")
    options = [*tones.options, "--data.tokens=phone", f"--data.lexicon={tmp_path}/lexicon.dic"]
    run_script("recipes/train_ctc.py", *options, "--out", tmp_path / "model")
    audio = tones.folder / "dev03.wav"
    assert set(load(tmp_path / "model").transcribe(audio).text.split()) <= {"a", "b"}
    phones = load(tmp_path / "model", decoder="greedy").transcribe(audio).text.split()
    assert set(phones) <= {"AH", "B", "IY"}
    lm = write_lm(tmp_path / "lm.arpa", a=-0.3, b=-0.3)
    assert load(tmp_path / "model", lm=lm).decoder.space.settings.lm_weight > 0
    out = tmp_path / "out"
    arguments = ["--model", tmp_path / "model", "--manifest", tones.folder / "dev.jsonl"]
    run_script("recipes/evaluate.py", *arguments, "--out", out)
    systems = json.loads((out / "results.json").read_text())["systems"]
    assert [system["name"] for system in systems] == ["beam"]
