"""All Python blocks in the pages for users and all examples in docstrings run unchanged."""

import doctest
import inspect
import re
import shutil
import textwrap
from dataclasses import replace

import pytest
import soundfile
import torch
from conftest import ROOT, SAMPLE_RATE, spoken, write_tones

import asr
from asr.hmm.fit import Hmm
from asr.lm.ngram import save_ngram, write_ngram
from asr.model import load_model, save_model
from asr.networks.acoustic import AcousticModel
from asr.recognizer import Recognizer
from asr.text.tokenizer import BLANK_SYMBOL, CharTokenizer

PAGES = [ROOT / "README.md", *sorted((ROOT / "recipes").glob("*.md"))]
LETTERS = " 'abcdefghijklmnopqrstuvwxyz"
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TEXTS = ["a b b a", "b a", "a a b", *(f"{one} {two}" for one in DIGITS for two in DIGITS[::3])]

NOTEBOOK = """
import asr
recognizer = asr.load("exp/digits/ctc")
transcript = recognizer.transcribe("a.wav")
transcript.text, transcript.words[0].start
waveform = asr.load_audio("a.wav", 16000); features = asr.log_mel(waveform, 16000)
log_probs = recognizer.log_probs(waveform)
symbols, words, tokens = recognizer.symbols, ["three", "five", "a", "b"], [2, 3]
best = asr.beam_search(log_probs, symbols, lexicon=words, lm="4gram.arpa", lm_weight=0.7)[0]
best.text, best.log_prob, best.frames
targets = torch.tensor([2, 3])
input_lengths, target_lengths = torch.tensor(len(log_probs)), torch.tensor(2)
loss = asr.ctc_loss(log_probs, targets, input_lengths, target_lengths)
alignment = asr.ctc_align(log_probs, tokens)
texts = ["three five", "five three three"]
lm = asr.train_ngram(texts, order=3)
lm.log_prob("three five"); asr.perplexity(lm, texts).per_word
counts = asr.wer(texts, ["three five", "five three"])
counts.rate, counts.substitutions, asr.cer(texts, texts).rate
lexicon = {"three": "TH R IY", "five": "F AY V"}
features = [asr.mfcc(torch.randn(16000) / 10, 16000) for text in texts]
hmm = asr.fit_hmm(features, texts, lexicon); log_prob, spans = hmm.align(features[0], texts[0])
"""
"""A notebook that calls every public function."""


def blocks(page):
    """(line, code) of each Python block in a page."""
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^( *)```python\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE):
        yield text.count("\n", 0, found.start(2)), textwrap.dedent(found[2])


def run(code, namespace, place, line=0):
    """Run a block so that an error names the page and its line."""
    exec(compile("\n" * line + code, str(place), "exec"), namespace)


@pytest.fixture(scope="module")
def notebook_folder(tone_model, tmp_path_factory):
    """Files named in the pages: models, recordings, texts, word lists, manifests and so on."""
    folder = tmp_path_factory.mktemp("notebook")
    write_tones(folder / "my", {"train": 4, "dev": 2, "test": 2}, seed=2)
    digits = "data/digits/audio/flite-rms/flite-rms-00.opus"  # the content shows that it is WAV
    (folder / digits).parent.mkdir(parents=True)
    for number, name in enumerate(["a.wav", "b.flac", "c.wav", digits]):
        form = {"format": "WAV"} if name == digits else {}
        soundfile.write(folder / name, spoken("a b b a b", seed=number), SAMPLE_RATE, **form)
    for name in ("exp/digits/ctc", "exp/an4/ctc", "exp/my/ctc"):
        save_model(folder / name, with_letters(load_model(tone_model)))
    lm = asr.train_ngram(TEXTS, order=4)
    write_ngram(folder / "4gram.arpa", lm)
    for name in ("exp/an4/ngram", "exp/my/ngram"):
        save_ngram(folder / name, lm, {}, {})
    write_lines(folder / "texts.txt", TEXTS)
    for name in ("references.txt", "hypotheses.txt"):
        shutil.copy(folder / "texts.txt", folder / name)
    words = dict.fromkeys(word for text in TEXTS for word in text.split())
    write_lines(folder / "words.txt", words)
    spelled = [f"{word}  {' '.join(word.upper())}" for word in words]
    for name in ("words.dic", "lexicon.dic"):
        write_lines(folder / name, spelled)
    write_lines(folder / "names.txt", ["a b", "b a\t2.5"])
    return folder


def write_lines(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def with_letters(model):
    """The model of two tones, extended by all other letters with low probabilities."""
    own = model.tokenizer.symbols
    symbols = (*own, *(letter for letter in LETTERS if letter not in own))
    acoustic = AcousticModel(
        model.features.settings.n_features, len(symbols), model.acoustic.settings
    )
    state = acoustic.state_dict()
    for name, value in model.acoustic.state_dict().items():
        if value.shape != state[name].shape:
            new = state[name].zero_()
            if new.ndim == 1:
                new.fill_(-6.0)  # bias, in nats
            new[: len(value)] = value
        else:
            state[name] = value
    acoustic.load_state_dict(state)
    tokenizer = CharTokenizer((BLANK_SYMBOL, *symbols[1:]))
    return replace(model, acoustic=acoustic.eval(), tokenizer=tokenizer)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_python_runs_unchanged(page, notebook_folder, tmp_path, monkeypatch):
    shutil.copytree(notebook_folder, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    found = list(blocks(page))
    assert found or page != ROOT / "README.md"
    namespace = {"__name__": "__main__"}
    for line, code in found:
        run(code, namespace, page, line)


def test_a_notebook_of_all_public_functions_runs(notebook_folder, monkeypatch):
    monkeypatch.chdir(notebook_folder)
    namespace = {"torch": torch}
    run(NOTEBOOK, namespace, "notebook")
    T = len(namespace["log_probs"])
    assert namespace["transcript"].words[0].text in ("a", "b")
    assert namespace["log_probs"].shape == (T, len(namespace["symbols"]))
    assert namespace["alignment"].shape == (T,)
    assert set(namespace["best"].text.split()) <= {"a", "b"}
    assert namespace["loss"].shape == ()
    assert namespace["counts"].rate == 1 / 5
    assert namespace["spans"][-1].last == len(namespace["features"][0]) - 1


def test_examples_of_docstrings_run_after_the_notebook(notebook_folder, monkeypatch):
    monkeypatch.chdir(notebook_folder)
    documented = [getattr(asr, name) for name in asr.__all__ if name != "InputError"]
    documented += [Recognizer, Recognizer.transcribe, Recognizer.log_probs, Hmm.align]
    for value in documented:
        waveforms = [torch.randn(16000) / 10 for _ in range(2)]
        namespace = {"torch": torch, "waveforms": waveforms, "samples": waveforms[0]}
        run(NOTEBOOK, namespace, "notebook")
        examples = doctest.DocTestParser().get_examples(inspect.getdoc(value))
        assert examples
        for example in examples:
            run(example.source, namespace, value.__qualname__)


def test_blocks_are_found_anywhere_in_a_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n```python\nx = 1\n```\n- b\n\n  ```python\n  if x:\n      1 / 0\n  ```\n")
    found = list(blocks(page))
    assert found == [(2, "x = 1\n"), (7, "if x:\n    1 / 0\n")]
    namespace = {}
    run(found[0][1], namespace, page)
    with pytest.raises(ZeroDivisionError) as caught:
        run(found[1][1], namespace, page, found[1][0])
    assert caught.traceback[-1].lineno == 8  # counted from 0
