import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import Tones, assert_same_model, run_script, signal_at, write_tones
from safetensors.torch import load_file, save_file
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from typer.testing import CliRunner

import asr
from asr.audio.features import Features, FeatureSettings
from asr.cli.app import app
from asr.corpus.manifest import read_manifest, write_manifest
from asr.errors import InputError
from asr.hmm.gmm import Gmm, Statistics
from asr.hmm.topology import Topology, left_to_right
from asr.hmm.tree_growth import TreeSettings
from asr.hmm.trees import DecisionTrees, Split
from asr.model import Model, load_model, save_model
from asr.networks.acoustic import AcousticModel, AcousticSettings
from asr.text.tokenizer import CharTokenizer
from asr.training import hmm_data
from asr.training.hmm import HmmTraining
from asr.training.hmm_data import HmmData
from asr.training.hmm_settings import HmmDataSettings, HmmModelSettings, HmmSettings
from asr.training.triphones import (
    Frames,
    Start,
    grow,
    phone_topology,
    tied_gmm,
    tied_topology,
    unit_statistics,
)

SCRIPT = "recipes/train_hmm.py"
LEXICON = "a X A\nb X B\nc A B\nd Z\n"
TREES = ["--trees.n_leaves=30", "--trees.min_gain=20", "--trees.min_count=10"]
SYMBOLS = ("<blank>", "#-A+B", "#-A+C", "#-C+#", "C-A+#", "#-Z+#")


def train(tones: Tones, out: Path, *more: str) -> None:
    lexicon = f"--data.lexicon={tones.folder / 'lexicon.dic'}"
    options = [*tones.hmm_options, lexicon, "--model.n_components=20", "--trainer.max_epochs=6"]
    run_script(SCRIPT, *options, "--out", out, *more)


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Tones:
    """The tones with a lexicon and a monophone HMM in `phones`; c and d are in no text."""
    folder = tmp_path_factory.mktemp("trained") / "tones"
    write_tones(folder, {"train": 12, "dev": 4}, seed=0)
    (folder / "lexicon.dic").write_text(LEXICON)
    train(Tones(folder), folder / "phones", "--trainer.max_epochs=10")
    return Tones(folder)


@pytest.fixture
def start(tones: Tones) -> Path:
    """The folder of the monophone HMM."""
    return tones.folder / "phones"


def random_start(seed: int, M: int = 3, F: int = 2) -> Start:
    """An HMM of the phones A, C and Z with two states each, silence with one; M Gaussians each."""
    generator = np.random.default_rng(seed)
    S = 7
    weights = torch.from_numpy(generator.dirichlet(np.ones(M), S))
    means = torch.from_numpy(generator.normal(size=(S, M, F)))
    variances = torch.from_numpy(generator.uniform(0.5, 2, size=(S, M, F)))
    topology = left_to_right(4, 2, 1)
    stay = torch.from_numpy(generator.uniform(0.1, 0.9, S)).log()
    topology = Topology(topology.pdfs, topology.silence, stay)
    features = Features(FeatureSettings())
    return Start(
        features, ("<blank>", "A", "C", "Z"), Gmm(weights.log(), means, variances), topology
    )


def tied_by_hand() -> DecisionTrees:
    """A's first state depends on the right neighbour, all others on nothing."""
    return DecisionTrees({"A": (Split("right", frozenset("B"), 0, 1), 2), "C": (3, 4), "Z": (5, 6)})


def test_statistics_sum_the_frames_of_each_state():
    generator = np.random.default_rng(0)
    parts = []
    for size in (20, 1, 33):
        tokens, states = generator.integers(1, 4, size), generator.integers(0, 2, size)
        frames = generator.normal(size=(size, 3)).astype(np.float32)
        parts.append(Frames(*map(torch.from_numpy, (frames, tokens, states))))
    found = unit_statistics(parts, C=4, J=2, F=3)
    frames, tokens, states = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    for row in range(8):
        own = frames[(tokens == row // 2) & (states == row % 2)].astype(float)
        assert found.counts[row, 0] == len(own)
        np.testing.assert_allclose(found.sums[row, 0], own.sum(0), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(found.squares[row, 0], (own**2).sum(0), rtol=1e-12)


def test_triphones_have_the_pdfs_of_their_phones_then_of_their_leaves():
    start = random_start(seed=1)
    phones = phone_topology(start, SYMBOLS)
    assert phones.pdfs.tolist() == [[-1, -1], [0, 1], [0, 1], [2, 3], [0, 1], [4, 5]]
    tied = tied_topology(phones, tied_by_hand(), SYMBOLS)
    assert tied.pdfs.tolist() == [[-1, -1], [0, 2], [1, 2], [3, 4], [1, 2], [5, 6]]
    assert tied.silence == (7,)
    origins = [0, 0, 1, 2, 3, 4, 5, 6]
    assert tied.self_loops.tolist() == start.topology.self_loops[origins].tolist()


def test_tied_states_start_with_the_gaussians_of_their_frames():
    start = random_start(seed=2)
    phones = phone_topology(start, SYMBOLS)
    tied = tied_topology(phones, tied_by_hand(), SYMBOLS)
    generator = np.random.default_rng(3)
    # A before C has frames in two triphones, C has too few frames, Z has none
    sizes = {1: 40, 2: 30, 3: 4, 4: 50}
    parts = []
    for token, size in sizes.items():
        for state in (0, 1):
            frames = torch.from_numpy(generator.normal(token + 10 * state, 1 + state, (size, 2)))
            of = torch.full((2, size), token)
            of[1] = state
            parts.append(Frames(frames, *of))
    gmm = tied_gmm(start, phones, tied, unit_statistics(parts, C=6, J=2, F=2), min_count=5)
    assert gmm.n_components.tolist() == [1] * 7 + [3]
    for pdf, (tokens, state) in enumerate([((1,), 0), ((2, 4), 0), ((1, 2, 4), 1)]):
        own = np.concatenate([x for x, t, j in parts if t[0] in tokens and j[0] == state])
        np.testing.assert_allclose(gmm.means[pdf, 0], own.mean(0), rtol=1e-12)
        np.testing.assert_allclose(gmm.variances[pdf, 0], own.var(0), rtol=1e-10)
    old = start.gmm
    for pdf in (3, 4, 5, 6):
        origin = pdf - 1
        components = Independent(Normal(old.means[origin], old.variances[origin].sqrt()), 1)
        mixture = MixtureSameFamily(Categorical(logits=old.log_weights[origin]), components)
        torch.testing.assert_close(gmm.means[pdf, 0], mixture.mean)
        torch.testing.assert_close(gmm.variances[pdf, 0], mixture.variance)
    for new, kept in ((gmm.means, old.means), (gmm.log_weights, old.log_weights)):
        assert torch.equal(new[7], kept[6])
    assert torch.equal(gmm.variances[7], old.variances[6])


def test_phones_without_frames_have_leaves_too():
    generator = np.random.default_rng(4)
    found = Statistics(*(torch.zeros(12, *shape).double() for shape in ((1,), (1, 2), (1, 2))))
    for row in (2, 3, 4, 5, 8, 9):  # both states of the first two units and of the fourth
        frames = torch.from_numpy(generator.normal(row, 1.0, (50, 2)))
        found.counts[row], found.sums[row] = 50, frames.sum(0)
        found.squares[row] = frames.square().sum(0)
    settings = TreeSettings(n_leaves=4, min_gain=0, min_count=0)
    trees = grow(found, SYMBOLS, settings)
    assert set(trees.trees) == {"A", "C", "Z"}
    assert {*trees.pdfs("#-C+#"), *trees.pdfs("#-Z+#")} == {*range(trees.n_pdfs - 4, trees.n_pdfs)}
    seen = {pdf for unit in ("#-A+B", "#-A+C", "C-A+#") for pdf in trees.pdfs(unit)}
    assert seen == set(range(trees.n_pdfs - 4))


def test_triphones_are_trained_and_recognised(tones, start, tmp_path, capsys):
    out = tmp_path / "tri"
    train(tones, out, f"--data.start={start}", *TREES)
    lines = capsys.readouterr().err
    assert re.search(r"states with fewer than 5 frames stay as they were: .*Z\[0\], Z\[1\]", lines)
    model = load_model(out)
    assert model.trained_on["start"] == str(start)
    units = ("#-A+B", "#-X+A", "#-X+B", "#-Z+#", "A-B+#", "X-A+#", "X-B+#")
    assert model.tokenizer.symbols[1:] == units
    pdfs = dict(zip(units, model.topology.pdfs[1:].tolist(), strict=True))
    # X is the first half of either tone
    assert not set(pdfs["#-X+A"]) & set(pdfs["#-X+B"])
    assert pdfs["#-A+B"] == pdfs["X-A+#"]  # #-A+B is unseen, and A has only one leaf per state
    dev = tones.folder / "dev.jsonl"
    run_script("recipes/evaluate.py", "--model", out, "--manifest", dev, "--device", "cpu")
    printed = CliRunner().invoke(app, ["info", str(out)]).stdout
    assert "dev.jsonl, beam: WER 0.00%" in printed
    assert re.search(rf"trained on .*start {start}", printed)
    recognizer = asr.load(out, device="cpu")
    for utterance in read_manifest(dev):
        assert recognizer.transcribe(utterance.audio).text == utterance.text


def test_statistics_use_the_pronunciation_that_was_said(tones, start, tmp_path, monkeypatch):
    lexicon = tmp_path / "lexicon.dic"
    lexicon.write_text("a B B\na(2) X A\nb X B\nb(2) A X A\n")
    settings = HmmSettings(
        data=HmmDataSettings(
            *(str(tones.folder / f"{part}.jsonl") for part in ("train", "dev")),
            lexicon=str(lexicon),
            start=str(start),
        ),
        features=load_model(start).features.settings,
        model=HmmModelSettings(n_states=2, n_silence_states=1, min_count=5),
        trees=TreeSettings(min_gain=0, min_count=0),
    )
    data, seen = HmmData(settings), []

    def recording_grow(found, *rest):
        seen.append(found)
        return grow(found, *rest)

    monkeypatch.setattr(hmm_data, "grow", recording_grow)
    data.tie(None)
    counts = seen[0].counts.view(-1, 2)
    spoken = [data.tokenizer.symbols[token] for token in counts.all(1).nonzero()[:, 0].tolist()]
    assert spoken == ["#-X+A", "#-X+B", "X-A+#", "X-B+#"]
    n_letters = sum(len(utterance.text.split()) for utterance in data.train)
    assert 9 * n_letters <= counts.sum() < 15 * n_letters  # frames without and with the gaps


def test_the_likelihood_never_falls_after_the_last_split(tones, start, tmp_path, capsys):
    train(tones, tmp_path / "tri", f"--data.start={start}", *TREES)
    found = re.findall(r"^epoch \d+ .*train_log_likelihood (\S+)", capsys.readouterr().err, re.M)
    of_train = [float(value) for value in found]
    assert len(of_train) == 6
    assert of_train[3:] == sorted(of_train[3:])  # no more splitting


@pytest.mark.parametrize(("step", "more"), [(2, []), (16, ["--schedule.algorithm=viterbi"])])
def test_a_resumed_run_keeps_its_trees(tones, start, tmp_path, monkeypatch, step, more):
    options = [f"--data.start={start}", *TREES, *more]
    train(tones, tmp_path / "straight", *options)
    with monkeypatch.context() as patched:
        signal_at(patched, HmmTraining, step)
        with pytest.raises(SystemExit):
            train(tones, tmp_path / "stopped", *options)

    def never(*_):
        raise AssertionError("trees are grown anew")

    monkeypatch.setattr(hmm_data, "grow", never)
    train(tones, tmp_path / "stopped", *options)
    assert_same_model(tmp_path / "straight", tmp_path / "stopped")


def test_a_run_with_another_start_is_refused(tones, start, tmp_path):
    shutil.copytree(start, tmp_path / "start")
    options = [f"--data.start={tmp_path / 'start'}", *TREES, "--schedule.grow_until=1"]
    train(tones, tmp_path / "tri", *options, "--trainer.max_epochs=2")
    values = load_file(tmp_path / "start" / "weights.safetensors")
    save_file(values | {"features.mean": values["features.mean"] + 1}, tmp_path / "new")
    (tmp_path / "new").rename(tmp_path / "start" / "weights.safetensors")
    with pytest.raises(InputError, match=r"holds a run on other data \(start differs\)"):
        train(tones, tmp_path / "tri", *options, "--trainer.max_epochs=2")


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Tones:
    """A corpus of digital silence with a lexicon, and a monophone HMM in `phones`."""
    folder = tmp_path_factory.mktemp("silent") / "tones"
    write_tones(folder, {"train": 3, "dev": 1}, seed=0)
    for path in folder.glob("*.wav"):
        waveform, rate = soundfile.read(path)
        soundfile.write(path, 0 * waveform, rate)
    (folder / "lexicon.dic").write_text(LEXICON)
    train(Tones(folder), folder / "phones")
    return Tones(folder)


def test_silent_audio_keeps_all_parameters_finite(silent, tmp_path):
    start = f"--data.start={silent.folder / 'phones'}"
    train(silent, tmp_path / "tri", start, "--trees.min_count=0")
    gmm = load_model(tmp_path / "tri").acoustic.gmm  # refuses values that are not finite
    assert gmm.emissions(torch.zeros(12)).isfinite().all()


# refusals


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--features.n_mels=13", r"features.n_mels is 13; expected 12, as \S+phones has"),
        ("--model.n_states=3", r"model.n_states is 3; expected 2, as \S+phones has"),
        ("--model.n_silence_states=0", r"model.n_silence_states is 0; expected 1, as \S+phones"),
        ("--model.max_components=1", r"max_components is 1; expected [2-9] or more, as silence"),
        (
            "--data.lexicon=char",
            r"lexicon has 2 phones such as 'a'; expected phones that \S+phones",
        ),
        ("--data.start=nowhere", r"nowhere"),
        ("--data.start=", r"data.start is empty, but trees has settings; expected a folder"),
        ("--trees.n_leaves=5", r"trees.n_leaves is 5; expected 6 or more, one for each state"),
    ],
)
def test_settings_that_do_not_match_the_start_are_refused(tones, start, tmp_path, option, line):
    with pytest.raises(InputError, match=line):
        train(tones, tmp_path / "tri", f"--data.start={start}", *TREES, option)


def test_a_triphone_hmm_can_not_be_the_start(tones, start, tmp_path):
    one = ["--schedule.grow_until=1", "--trainer.max_epochs=2"]
    train(tones, tmp_path / "tri", f"--data.start={start}", *one)
    with pytest.raises(InputError, match=r"data.start is \S+tri, an HMM of triphones; exp"):
        train(tones, tmp_path / "again", f"--data.start={tmp_path / 'tri'}")


def test_trees_need_words(tones, start, tmp_path):
    for part in ("train", "dev"):
        utterances = read_manifest(tones.folder / f"{part}.jsonl")
        write_manifest(tmp_path / f"{part}.jsonl", [replace(u, text="") for u in utterances])
    line = "train.jsonl: has no word in the texts of 12 utterances; expected some to learn from"
    with pytest.raises(InputError, match=line):
        train(
            tones,
            tmp_path / "tri",
            f"--data.start={start}",
            *(f"--data.{part}={tmp_path / part}.jsonl" for part in ("train", "dev")),
        )


def test_only_an_hmm_with_gaussians_can_be_the_start(tones, tmp_path):
    features = Features(FeatureSettings(n_mels=4))
    network = AcousticModel(4, 2, AcousticSettings(hidden_size=2, n_layers=1))
    save_model(tmp_path / "ctc", Model(features, network, CharTokenizer(("<blank>", "a"))))
    with pytest.raises(
        InputError, match=r"data.start is \S+ctc, a CTC model; expected an HMM with Gaussian"
    ):
        train(tones, tmp_path / "tri", f"--data.start={tmp_path / 'ctc'}")
