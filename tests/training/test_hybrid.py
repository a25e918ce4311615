import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import (
    ROOT,
    SAMPLE_RATE,
    Tones,
    assert_same_model,
    run_script,
    signal_at,
    write_tones,
)
from safetensors.torch import load_file, save_file

import asr
import asr.corpus.recordings
from asr.audio.augment import AugmentSettings
from asr.audio.features import Features, FeatureSettings
from asr.audio.load import read_audio
from asr.config import check_file, settings_parser
from asr.corpus.batching import UtteranceDraw
from asr.corpus.dataset import SpeechDataset, collate
from asr.corpus.manifest import read_manifest, write_manifest
from asr.errors import InputError
from asr.hmm.emissions import GmmEmissions
from asr.hmm.gmm import Gmm
from asr.hmm.topology import ENTER_SILENCE, PASS_SILENCE, left_to_right
from asr.model import Model, load_model, save_model
from asr.networks.acoustic import AcousticModel, AcousticSettings
from asr.text.lexicon import parse_lexicon
from asr.text.tokenizer import CharTokenizer, PhoneTokenizer
from asr.training.hybrid import FEWEST_FRAMES, HybridTraining, frame_losses, log_priors
from asr.training.hybrid_data import (
    AlignedDataset,
    HybridData,
    HybridDataSettings,
    HybridSettings,
    recorded_frames,
)
from asr.training.run import add_trainer_options

SCRIPT = "recipes/train_hybrid.py"
FEATURES = FeatureSettings(sample_rate=SAMPLE_RATE, n_mels=12)


def features_of(features: Features, audio: str) -> tuple[torch.Tensor, torch.Tensor]:
    waveform = torch.from_numpy(read_audio(audio, features.settings.sample_rate))
    return features(waveform[None], torch.tensor([len(waveform)]))


def write_hmm(folder: Path, tones: Tones, lexicon: tuple[str, ...], variance: float = 0.5) -> None:
    """Save an HMM with two states per letter; their means are those of the letters' frames."""
    tokenizer = PhoneTokenizer.from_lexicon(parse_lexicon(lexicon, "lexicon"))
    topology = left_to_right(len(tokenizer.symbols), 2, 1, stay=0.8)
    S = len(topology.self_loops)
    features = Features(FEATURES)
    sums, counts = torch.zeros(S, 12), torch.zeros(S)
    for utterance in read_manifest(tones.folder / "train.jsonl"):
        rows = features_of(features, utterance.audio)[0][:, 0]
        pdfs = torch.full((len(rows),), S - 1)
        for number, letter in enumerate(utterance.text.split()):
            first = 6 + 15 * number  # tones have 9 frames; one every 15 from frame 6 on
            of_letter = topology.pdfs[tokenizer.symbols.index(letter.upper())]
            pdfs[first : first + 9] = of_letter[[0] * 4 + [1] * 5]
        sums.index_add_(0, pdfs, rows)
        counts += pdfs.bincount(minlength=S)
    means = (sums / counts.clamp(min=1)[:, None])[:, None]
    generator = torch.Generator().manual_seed(0)
    means = means + 0.1 * torch.randn(means.shape, generator=generator)
    gmm = Gmm(torch.zeros(S, 1), means, torch.full_like(means, variance))
    save_model(folder, Model(features, GmmEmissions(gmm), tokenizer, {}, topology))


@pytest.fixture
def hmm(tones: Tones) -> Path:
    """Folder of an HMM of the tones; "b" has two pronunciations, "c" is in no text."""
    write_hmm(tones.folder / "hmm", tones, ("a A", "b B", "b(2) B B", "c C"))
    return tones.folder / "hmm"


@pytest.fixture
def options(tones: Tones, hmm: Path) -> list[str]:
    """The options of `train_hybrid` for the tones, without --out."""
    return options_of(tones, hmm)


def options_of(tones: Tones, hmm: Path) -> list[str]:
    return [*tones.options, "--model.time_reduction=1", f"--data.hmm={hmm}"]


def train(options: list[str], out: Path, *more: str) -> None:
    run_script(SCRIPT, *options, "--out", out, *more)


def settings_of(tones: Tones, hmm: Path, **settings) -> HybridSettings:
    names = [str(tones.folder / f"{part}.jsonl") for part in ("train", "dev")]
    model = AcousticSettings(time_reduction=1, hidden_size=8, n_layers=1, dropout=0.0)
    values = {"data": HybridDataSettings(*names, str(hmm), 1.6), "features": FEATURES}
    return HybridSettings(**{**values, "model": model, **settings})


def aligned(tones: Tones, hmm: Path, **settings) -> HybridData:
    data = HybridData(settings_of(tones, hmm, **settings))
    data.setup("fit")
    return data


# targets


def best_states(emissions: np.ndarray, pdfs: list[int], stay: np.ndarray) -> tuple[float, list]:
    """The best path through a sequence of states, without skipping any, and its log-probability."""
    T, Q = len(emissions), len(pdfs)
    scores, paths = np.full((T, Q), -np.inf), {(0, 0): [0]}
    scores[0, 0] = emissions[0, pdfs[0]]
    for t, q in itertools.product(range(1, T), range(Q)):
        loop = scores[t - 1, q] + stay[pdfs[q]]
        step = scores[t - 1, q - 1] + np.log1p(-np.exp(stay[pdfs[q - 1]])) if q else -np.inf
        if max(loop, step) > -np.inf:
            scores[t, q] = max(loop, step) + emissions[t, pdfs[q]]
            paths[t, q] = [*paths[t - 1, q if loop > step else q - 1], q]
    if (T - 1, Q - 1) not in paths:
        return -np.inf, []
    last_step = np.log1p(-np.exp(stay[pdfs[-1]]))
    return scores[-1, -1] + last_step, [pdfs[q] for q in paths[T - 1, Q - 1]]


def best_of_all(emissions: np.ndarray, words: list, model: Model) -> list[int]:
    """The pdfs of the best path, by trying all pronunciations with and without each silence."""
    silence, stay = list(model.topology.silence), model.topology.self_loops.double().numpy()
    found = []
    for spoken in itertools.product(*words):
        for pauses in itertools.product([False, True], repeat=len(words) + 1):
            pdfs = silence if pauses[0] else []
            for tokens, pause in zip(spoken, pauses[1:], strict=True):
                pdfs = pdfs + model.topology.pdfs[list(tokens)].flatten().tolist()
                pdfs = pdfs + (silence if pause else [])
            weight = sum(ENTER_SILENCE if pause else PASS_SILENCE for pause in pauses)
            log_prob, states = best_states(emissions, pdfs, stay)
            found.append((log_prob + weight, states))
    return max(found)[1]


def test_targets_are_the_best_path_over_all_pronunciations(tones, tmp_path):
    hmm = tmp_path / "hmm"
    # a large variance, so that transitions matter too
    write_hmm(hmm, tones, ("a A", "b B", "b(2) B B", "c C"), variance=20.0)
    data = aligned(tones, hmm, augment=AugmentSettings(speeds=(0.8, 1.2)))
    model = load_model(hmm)
    for dataset, alignments in (
        (data.train, data._train_alignments),
        (data.dev, data._dev_alignments),
    ):
        short = [i for i, u in enumerate(dataset.utterances) if len(u.text.split()) < 4][:4]
        for i in short:
            utterance = dataset.utterances[i]
            emissions, _ = model.acoustic(*features_of(model.features, utterance.audio))
            words = [model.tokenizer.pronunciations(word) for word in utterance.text.split()]
            expected = best_of_all(emissions[:, 0].double().numpy(), words, model)
            assert alignments[i].tolist() == expected
    S = len(model.topology.self_loops)
    assert data.counts.tolist() == np.bincount(np.concatenate(data._train_alignments)).tolist()
    assert len(data.counts) == S


def numbered_tones(waveform: np.ndarray) -> np.ndarray:
    """(T,), the number of the tone in the middle of each frame; 0 for silence."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform, FEATURES.win_length)
    middle = slice(FEATURES.win_length // 2 - 10, FEATURES.win_length // 2 + 10)
    loud = np.abs(frames[:: FEATURES.hop_length, middle]).max(1) > 0.1
    return np.cumsum(np.diff(loud, prepend=False) & loud) * loud


def test_targets_match_the_audio_at_every_speed(tones):
    utterances, speeds = read_manifest(tones.folder / "train.jsonl"), (0.8, 0.9, 1.0, 1.25)
    speech = SpeechDataset(utterances, CharTokenizer.from_texts(["a b"]), SAMPLE_RATE, speeds)
    recorded = [numbered_tones(waveform) for waveform in speech.waveforms]
    dataset = AlignedDataset(speech, recorded, FEATURES)
    found = set()
    for index, epoch in itertools.product(range(len(dataset)), range(4)):
        _, waveform, targets = dataset[UtteranceDraw(index, epoch)]
        heard = numbered_tones(waveform)
        assert len(targets) == len(heard)
        off = np.array(targets) != heard
        starts = np.flatnonzero(np.diff(heard)) + 1  # first frames of tones and silences
        assert off.sum() <= 0.5 * len(starts)
        assert not np.delete(off, [starts - 1, starts]).any()
        found.add(round(utterances[index].duration * SAMPLE_RATE / len(waveform), 2))
    assert found == set(speeds)


@pytest.mark.parametrize("speed", [0.7, 0.9, 1.0, 1.1, 1.6])
def test_recorded_frames_are_the_nearest_ones(speed):
    settings = FeatureSettings(window_ms=32, hop_ms=10)
    recorded, win, hop = 20000, settings.win_length, settings.hop_length
    T, n_recorded = settings.n_frames(round(recorded / speed)), settings.n_frames(recorded)
    middles = np.array([hop * t + win / 2 for t in range(n_recorded)])
    expected = [np.abs(middles - (hop * t + win / 2) * speed).argmin() for t in range(T)]
    found = recorded_frames(T, n_recorded, speed, settings)
    assert found.tolist() == expected
    if speed == 1:
        assert found.tolist() == list(range(n_recorded))


# loss and priors


def test_the_loss_equals_the_cross_entropy_of_single_utterances(tones, hmm, monkeypatch):
    data = aligned(tones, hmm)
    dataset = AlignedDataset(data.train, data._train_alignments, FEATURES)
    torch.manual_seed(0)
    task = HybridTraining(data.settings, len(data.topology.self_loops))
    logged = {}
    monkeypatch.setattr(
        HybridTraining, "log", lambda self, name, value, **_: logged.update({name: value})
    )
    examples = [dataset[UtteranceDraw(index, 0)] for index in (0, 1, 2, 3)]
    assert len({len(example.tokens) for example in examples}) == 4
    loss = task.training_step(collate(examples), 0)
    total, errors, n_frames = 0.0, 0, 0
    for example in examples:
        waveform = torch.from_numpy(example.waveform.copy())
        features, lengths = task.features(waveform[None], torch.tensor([len(waveform)]))
        rows = task.emissions.network(features, lengths)[0][:, 0].detach().double().numpy()
        for row, pdf in zip(rows, example.tokens, strict=True):
            total -= row[pdf]
            errors += row.argmax() != pdf
            n_frames += 1
    assert float(loss.detach()) == pytest.approx(total / n_frames, rel=1e-6)
    assert torch.equal(logged["train_loss"], loss.detach())
    task.validation_step(collate(examples[:1]), 0)
    task.validation_step(collate(examples[1:]), 1)
    task.on_validation_epoch_end()
    assert logged["dev_loss"] == pytest.approx(total / n_frames, rel=1e-6)
    assert logged["dev_fer"] == errors / n_frames


def test_padding_has_no_loss_and_no_gradient():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 2, 3, generator=generator, requires_grad=True)
    targets = torch.randint(3, (2, 6), generator=generator)
    losses = frame_losses(logits.log_softmax(2), targets, torch.tensor([6, 4]))
    expected = torch.nn.functional.cross_entropy(logits[:4, 1], targets[1, :4], reduction="sum")
    torch.testing.assert_close(losses[1], expected)
    losses.sum().backward()
    assert (logits.grad[4:, 1] == 0).all()
    assert (logits.grad[:4] != 0).all()
    with pytest.raises(ValueError, match=r"targets has shape \(2, 5\); expected \(2, 6\)"):
        frame_losses(logits, targets[:, :5], torch.tensor([6, 4]))


def test_priors_are_shares_of_frames_with_a_floor_for_rare_states():
    found = log_priors(torch.tensor([600, 0, 3, 380])).exp()
    torch.testing.assert_close(found, torch.tensor([0.6, 0.01, 0.01, 0.38]).double())


# training


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Folder of a hybrid trained on the tones; the corpus and the HMM are in its parent."""
    folder = tmp_path_factory.mktemp("trained")
    write_tones(folder / "tones", {"train": 24, "dev": 8}, seed=1)
    tones = Tones(folder / "tones")
    write_hmm(folder / "hmm", tones, ("a A", "b B", "c C"))
    options = options_of(tones, folder / "hmm")
    train(options, folder / "hybrid", "--trainer.max_epochs=12", "--model.dropout=0")
    return folder / "hybrid"


def test_a_trained_hybrid_recognises_tones(trained, capsys):
    dev = trained.parent / "tones" / "dev.jsonl"
    recognizer = asr.load(trained)
    utterances = read_manifest(dev)
    texts = [recognizer.transcribe(utterance.audio).text for utterance in utterances]
    assert texts == [utterance.text for utterance in utterances]
    out = trained.parent / "dev"
    run_script("recipes/evaluate.py", "--model", trained, "--manifest", dev, "--out", out)
    results = json.loads((out / "results.json").read_text())
    assert results["systems"][0]["wer"] == 0


def test_a_trained_hybrid_has_the_states_of_its_hmm_and_their_priors(trained):
    hybrid, hmm = load_model(trained), load_model(trained.parent / "hmm")
    assert hybrid.tokenizer == hmm.tokenizer
    assert torch.equal(hybrid.topology.pdfs, hmm.topology.pdfs)
    assert torch.equal(hybrid.topology.self_loops, hmm.topology.self_loops)
    assert hybrid.topology.silence == hmm.topology.silence
    data = aligned(Tones(trained.parent / "tones"), trained.parent / "hmm")
    counts = data.counts.double()
    unseen = hmm.topology.pdfs[hmm.tokenizer.symbols.index("C")]
    assert (counts[unseen] == 0).all()
    counts[unseen] = FEWEST_FRAMES
    expected = (counts / counts.sum()).log().float()
    torch.testing.assert_close(hybrid.acoustic.log_priors, expected, rtol=1e-6, atol=1e-6)
    assert hybrid.trained_on["hmm"] == str(trained.parent / "hmm")


def test_a_hybrid_can_align_for_another_hybrid(trained, tmp_path):
    options = options_of(Tones(trained.parent / "tones"), trained)
    train(options, tmp_path / "next", "--trainer.max_epochs=1")
    assert load_model(tmp_path / "next").topology.silence == load_model(trained).topology.silence


# an epoch has 7 steps
@pytest.mark.parametrize(
    ("step", "more"),
    [(9, []), (6, ["--features.normalisation=global"])],
    ids=["middle of an epoch", "last step of an epoch"],
)
def test_a_resumed_run_equals_an_uninterrupted_one(
    options, tmp_path, monkeypatch, capsys, step, more
):
    train(options, tmp_path / "straight", *more)
    with monkeypatch.context() as patched:
        signal_at(patched, HybridTraining, step)
        with pytest.raises(SystemExit):
            train(options, tmp_path / "stopped", *more)
    assert f"stopped after step {step + 1} of 21; the same command" in capsys.readouterr().err
    train(options, tmp_path / "stopped", *more)
    assert_same_model(tmp_path / "straight", tmp_path / "stopped")


def test_a_gradient_that_is_not_finite_skips_the_step_and_names_its_batch(
    options, tmp_path, monkeypatch, capsys
):
    original = HybridTraining.training_step

    def step(self, batch, batch_idx):
        loss = original(self, batch, batch_idx)
        if self.trainer.global_step == 3:
            loss.register_hook(lambda gradient: gradient * torch.inf)
        return loss

    monkeypatch.setattr(HybridTraining, "training_step", step)
    train(options, tmp_path / "run", "--trainer.max_epochs=1")
    lines = [line for line in capsys.readouterr().err.splitlines() if "not taken" in line]
    assert len(lines) == 1
    assert re.fullmatch(r"step 4 not taken: the gradient is not finite: train\d.*", lines[0])


# refusals


def test_a_run_on_another_hmm_is_refused(options, hmm, tmp_path, capsys):
    train(options, tmp_path / "run", "--trainer.max_epochs=1")
    description = json.loads((hmm / "model.json").read_text())
    description["trained_on"] = {"minutes": 3}  # does not change the alignment
    (hmm / "model.json").write_text(json.dumps(description))
    capsys.readouterr()
    train(options, tmp_path / "run", "--trainer.max_epochs=1")
    line = f"{tmp_path / 'run'}: is trained already, with these settings\n"
    assert capsys.readouterr().err == line
    weights = load_file(hmm / "weights.safetensors")
    weights["acoustic.means"] += 0.01
    save_file(weights, hmm / "weights.safetensors")
    with pytest.raises(InputError, match=r"run: holds a run on other data \(hmm differs\)"):
        train(options, tmp_path / "run", "--trainer.max_epochs=1")


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--features.hop_ms=5", r"features has windows of 25 ms every 5 ms at 8000 Hz; the HMM \S+"
         r"hmm has windows of 25 ms every 10 ms at 8000 Hz: expected the same"),
        ("--features.window_ms=32", "windows of 32 ms every 10 ms at 8000 Hz; the HMM"),
        ("--features.sample_rate=16000", "windows of 25 ms every 10 ms at 16000 Hz; the HMM"),
        ("--model.time_reduction=3", "model.time_reduction is 3; expected 1"),
        ("--data.hmm=nowhere", "nowhere: does not exist; expected a trained model's folder"),
        ("--data.batch_s=0", "data.batch_s is 0.0; expected more than 0 seconds"),
        ("--data.batch_s=.inf", "data.batch_s is inf; expected more than 0 seconds, finite"),
        ("--seed=-1", "seed is -1; expected from 0"),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(options, tmp_path, capsys, option, line):
    with pytest.raises((InputError, SystemExit)) as refused:
        train(options, tmp_path / "run", option)
    text = str(refused.value) + capsys.readouterr().err
    assert re.search(line, text), text
    assert not (tmp_path / "run").exists()


def test_a_ctc_model_is_refused_as_hmm(tones, tmp_path):
    tokenizer = CharTokenizer.from_texts(["a b"])
    acoustic = AcousticModel(12, len(tokenizer.symbols), AcousticSettings(hidden_size=2))
    save_model(tmp_path / "ctc", Model(Features(FEATURES), acoustic, tokenizer))
    with pytest.raises(InputError, match=r"ctc: is a CTC model's folder; expected an HMM's"):
        HybridData(settings_of(tones, tmp_path / "ctc"))


def with_texts(path: Path, texts: dict[int, str]) -> None:
    utterances = read_manifest(path)
    for number, text in texts.items():
        utterances[number] = replace(utterances[number], text=text)
    write_manifest(path, utterances)


def test_all_utterances_that_can_not_be_aligned_are_named(tones, hmm):
    train_path, dev = tones.folder / "train.jsonl", tones.folder / "dev.jsonl"
    with_texts(train_path, {1: "a z", 3: "q z"})
    with_texts(dev, {2: "y"})
    line = r"hmm: has no pronunciation of 3 words .*: q \(train03\), y \(dev02\), z \(train01\);"
    with pytest.raises(InputError, match=line):
        HybridData(settings_of(tones, hmm))
    with_texts(train_path, {1: "a " * 40, 3: "b " * 50})
    with_texts(dev, {2: "a"})
    line = r"train.jsonl: 2 of 12 .*: train01 \(\d+ for 80\), train03 \(\d+ for 100\); take them"
    with pytest.raises(InputError, match=line):
        HybridData(settings_of(tones, hmm))


def test_empty_texts_need_an_hmm_with_silence(tones, hmm):
    with_texts(tones.folder / "train.jsonl", {1: ""})
    data = aligned(tones, hmm)
    assert set(data._train_alignments[1].tolist()) == set(data.topology.silence)
    model = load_model(hmm)
    save_model(hmm, replace(model, topology=replace(model.topology, silence=())))
    with pytest.raises(InputError, match=r"train.jsonl: empty texts of train01; expected word"):
        HybridData(settings_of(tones, hmm))


def test_silent_audio_is_named_and_keeps_all_weights_finite(options, tones, tmp_path, capsys):
    waveform, _ = soundfile.read(tones.folder / "train01.wav")
    soundfile.write(tones.folder / "train01.wav", 0 * waveform, SAMPLE_RATE)
    train(options, tmp_path / "run", "--trainer.max_epochs=1")
    lines = capsys.readouterr().err
    assert "train.jsonl: silent or constant audio in 1 of 12 utterances: train01; they" in lines
    found = load_file(tmp_path / "run" / "weights.safetensors")
    assert all(weight.isfinite().all() for weight in found.values())


def test_states_with_few_aligned_frames_are_named(options, tmp_path, capsys):
    train(options, tmp_path / "run", "--trainer.max_epochs=1")
    (line,) = [one for one in capsys.readouterr().err.splitlines() if "states aligned" in one]
    few = "states aligned with fewer than 10 frames get the prior of so many: "
    assert line.startswith(few)
    assert {"C[0]", "C[1]"} <= set(line.removeprefix(few).split(", "))


def test_every_validation_starts_with_the_first_batch(tones, hmm):
    loader = aligned(tones, hmm).val_dataloader()
    assert next(iter(loader)).ids == next(iter(loader)).ids


def test_audio_that_is_not_finite_is_named(tones, hmm, monkeypatch):
    def spoilt(path, sample_rate):
        waveform = read_audio(path, sample_rate)
        if "train05" in str(path):
            waveform[500] = np.nan
        return waveform

    monkeypatch.setattr(asr.corpus.recordings, "read_audio", spoilt)
    data = HybridData(settings_of(tones, hmm))
    with pytest.raises(InputError, match="no finite likelihood of train05; expected finite audio"):
        data.setup("fit")


@pytest.mark.parametrize(
    "path",
    sorted(ROOT.glob("conf/*/hybrid*.yaml")),
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_the_settings_of_every_corpus_are_valid(path):
    parser = settings_parser("train_hybrid", HybridSettings)
    add_trainer_options(parser)
    check_file(parser, path)
