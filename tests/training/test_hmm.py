import math
import os
import re
import subprocess
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from conftest import ROOT, SAMPLE_RATE, Tones, assert_same_model, run_script, signal_at
from safetensors.torch import load_file
from torch.nn.parallel import DistributedDataParallel

from asr.audio.augment import change_speed
from asr.audio.features import FeatureSettings
from asr.audio.load import read_audio
from asr.config import check_file, settings_parser
from asr.corpus.manifest import read_manifest, write_manifest
from asr.errors import InputError
from asr.hmm.gmm import flat_start, maximise, share_out, split, statistics, variance_floor
from asr.hmm.graph import pad_graphs, token_spans, utterance_graph
from asr.hmm.paths import best_path, forward_backward, log_likelihoods, viterbi
from asr.hmm.topology import update_self_loops
from asr.model import load_model
from asr.training.hmm import STATISTICS, HmmTraining
from asr.training.hmm_data import HmmBatches, HmmData
from asr.training.hmm_settings import HmmDataSettings, HmmModelSettings, HmmSettings
from asr.training.run import add_trainer_options

SCRIPT = "recipes/train_hmm.py"


@pytest.fixture
def options(tones: Tones) -> list[str]:
    """The options of `train_hmm` for the tones, without --out."""
    return tones.hmm_options


def train(options: list[str], out: Path, *more: str) -> None:
    run_script(SCRIPT, *options, "--out", out, *more)


def logged(text: str, name: str) -> list[float]:
    """The values of `name` in the lines of all epochs."""
    return [float(value) for value in re.findall(rf"^epoch \d+ .*\b{name} (\S+)", text, re.M)]


def data_of(tones: Tones, **settings) -> HmmData:
    names = {part: str(tones.folder / f"{part}.jsonl") for part in ("train", "dev")}
    return HmmData(HmmSettings(data=HmmDataSettings(**names), **settings))


def test_a_trained_hmm_aligns_the_tones(tones, options, tmp_path, capsys):
    train(options, tmp_path / "model", "--trainer.max_epochs=12")
    model = load_model(tmp_path / "model")
    assert capsys.readouterr().out == f"{tmp_path / 'model'}\n"
    assert model.trained_on["epochs"] == 12
    assert model.acoustic.gmm.n_components.sum() <= 14
    for utterance in read_manifest(tones.folder / "dev.jsonl"):
        waveform = torch.from_numpy(read_audio(utterance.audio, SAMPLE_RATE))
        features, lengths = model.features(waveform[None], torch.tensor([len(waveform)]))
        words = utterance.text.split()
        graph = utterance_graph([model.tokenizer.pronunciations(w) for w in words], model.topology)
        given = model.acoustic.gmm.emissions(features), lengths, pad_graphs([graph])
        _, alignment = viterbi(*given, model.topology.self_loops)
        found = [one for one in token_spans(graph, alignment[:, 0].tolist()) if one.word >= 0]
        assert [model.tokenizer.symbols[one.token] for one in found] == words
        for number, one in enumerate(found):  # tones have 9 frames; one every 15 from frame 6 on
            assert abs(one.first - (5 + 15 * number)) <= 3
            assert abs(one.last - (14 + 15 * number)) <= 3


@pytest.mark.parametrize("algorithm", ["baum_welch", "viterbi"])
def test_training_equals_em_without_batches(tones, options, tmp_path, capsys, algorithm):
    train(options, tmp_path / "model", f"--schedule.algorithm={algorithm}")
    text = capsys.readouterr().err
    model = load_model(tmp_path / "model")

    def utterances(part):
        for utterance in read_manifest(tones.folder / f"{part}.jsonl"):
            waveform = torch.from_numpy(read_audio(utterance.audio, SAMPLE_RATE))
            features, lengths = model.features(waveform[None], torch.tensor([len(waveform)]))
            words = [model.tokenizer.pronunciations(word) for word in utterance.text.split()]
            yield features, lengths, pad_graphs([utterance_graph(words, model.topology)])

    spoken, heard = list(utterances("train")), list(utterances("dev"))
    n_frames = sum(int(lengths) for _, lengths, _ in spoken)
    self_loops = torch.full((5,), 0.5, dtype=torch.float64).log()
    gmm = flat_start([features[:, 0] for features, *_ in spoken], 5)
    quiet = []  # the tenth of each utterance with the smallest first cepstral coefficient
    for features, *_ in spoken:
        frames = sorted(features[:, 0].double(), key=lambda frame: float(frame[0]))
        quiet += frames[: len(frames) // 10]
    gmm = replace(gmm, means=gmm.means.clone())
    gmm.means[list(model.topology.silence)] = torch.stack(quiet).mean(0)
    floor, train_expected, dev_expected = variance_floor(gmm.variances[0, 0]), [], []
    for epoch in range(5):
        step = forward_backward if algorithm == "baum_welch" or not epoch else best_path
        total, counted, stays, leaves = 0.0, None, 0, 0
        for features, *given in spoken:
            found = step(gmm.emissions(features), *given, self_loops)
            one = statistics(gmm, features[:, 0], found.occupancies[:, 0])
            counted = one if counted is None else counted + one
            total += float(found.log_likelihoods)
            stays, leaves = stays + found.stays, leaves + found.leaves
        train_expected.append(total / n_frames)
        gmm = maximise(gmm, counted, floor, min_count=5).gmm
        self_loops = update_self_loops(self_loops, stays, leaves, min_count=5)
        if epoch < 3:
            gmm = split(gmm, share_out(counted.counts.sum(1), 8 + 3 * epoch, 32, min_count=10))
        dev = [
            float(log_likelihoods(gmm.emissions(features), *given, self_loops))
            for features, *given in heard
        ]
        dev_expected.append(sum(dev) / sum(int(lengths) for _, lengths, _ in heard))
    assert logged(text, "train_log_likelihood") == pytest.approx(train_expected, abs=1e-4)
    assert logged(text, "dev_log_likelihood") == pytest.approx(dev_expected, abs=1e-4)
    assert logged(text, "n_components")[-1] == gmm.n_components.sum() == 14
    torch.testing.assert_close(model.acoustic.gmm.means, gmm.means.float(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(model.topology.self_loops, self_loops.float(), rtol=1e-3, atol=1e-3)


def test_the_likelihood_never_falls_without_splitting(options, tmp_path, capsys):
    train(options, tmp_path / "model", "--schedule.grow_until=1", "--trainer.max_epochs=8")
    of_train = logged(capsys.readouterr().err, "train_log_likelihood")
    assert len(of_train) == 8
    assert sorted(of_train) == of_train


# an epoch has 7 steps
@pytest.mark.parametrize(
    ("step", "hook", "more"),
    [
        (2, "training_step", []),
        (16, "training_step", ["--schedule.algorithm=viterbi"]),
        (6, "training_step", ["--features.normalisation=global"]),
        (14, "validation_step", []),
    ],
    ids=["first epoch", "third epoch", "last step of an epoch", "validation"],
)
def test_a_resumed_run_equals_an_uninterrupted_one(
    options, tmp_path, monkeypatch, capsys, step, hook, more
):
    train(options, tmp_path / "straight", *more)
    straight = capsys.readouterr().err
    with monkeypatch.context() as patched:
        signal_at(patched, HmmTraining, step, hook)
        with pytest.raises(SystemExit):
            train(options, tmp_path / "stopped", *more)
    first = capsys.readouterr().err
    taken = step + (hook == "training_step")
    assert f"stopped after step {taken} of 35; the same command" in first
    train(options, tmp_path / "stopped", *more)
    assert_same_model(tmp_path / "straight", tmp_path / "stopped")
    both = first + capsys.readouterr().err
    for name in ("train_log_likelihood", "dev_log_likelihood", "n_components"):
        assert logged(both, name) == logged(straight, name)


def test_a_finished_run_is_not_changed(tones, options, tmp_path, capsys):
    train(options, tmp_path / "run")
    before = (tmp_path / "run" / "weights.safetensors").read_bytes()
    capsys.readouterr()
    train(options, tmp_path / "run")
    line = f"{tmp_path / 'run'}: is trained already, with these settings\n"
    assert capsys.readouterr().err == line
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == before
    with pytest.raises(InputError, match=r"model.n_components is 14 there, 10 now"):
        train(options, tmp_path / "run", "--model.n_components=10")
    (tones.folder / "lexicon.dic").write_text("a a\nb b\nc a b\n")
    lexicon = f"--data.lexicon={tones.folder / 'lexicon.dic'}"
    train(options, tmp_path / "other", lexicon)
    (tones.folder / "lexicon.dic").write_text("a a\nb b\nc b a\n")
    with pytest.raises(InputError, match=r"holds a run on other data \(lexicon differs\)"):
        train(options, tmp_path / "other", lexicon)


def test_states_without_data_are_named_once_and_not_changed(tones, options, tmp_path, capsys):
    (tones.folder / "lexicon.dic").write_text("a AA\nb BB\nb(2) AA BB\nzed ZZ\n")
    train(options, tmp_path / "run", f"--data.lexicon={tones.folder / 'lexicon.dic'}")
    lines = [line for line in capsys.readouterr().err.splitlines() if "stay as they were" in line]
    few = "epoch 1: states with fewer than 5 frames stay as they were: ZZ[0], ZZ[1]"
    assert lines == [few]
    model = load_model(tmp_path / "run")
    zed = model.topology.pdfs[model.tokenizer.symbols.index("ZZ")].tolist()
    assert model.acoustic.gmm.n_components[zed].tolist() == [1, 1]
    data = data_of(tones, features=model.features.settings)
    data.setup("fit")
    start = flat_start(data.frames(), 1)
    for pdf in zed:
        torch.testing.assert_close(model.acoustic.gmm.means[pdf, 0], start.means[0, 0].float())
        torch.testing.assert_close(
            model.acoustic.gmm.variances[pdf, 0], start.variances[0, 0].float()
        )
        assert float(model.topology.self_loops[pdf].exp()) == pytest.approx(0.5)


def test_constant_audio_is_named_and_keeps_all_parameters_finite(tones, options, tmp_path, capsys):
    for name, value in (("train01", 0.0), ("train02", 0.25), ("dev03", 0.0)):
        waveform, _ = soundfile.read(tones.folder / f"{name}.wav")
        soundfile.write(tones.folder / f"{name}.wav", np.full_like(waveform, value), SAMPLE_RATE)
    train(options, tmp_path / "run", "--features.kind=log_mel", "--features.n_deltas=2")
    lines = capsys.readouterr().err
    assert "train.jsonl: silent or constant audio in 2 of 12 utterances: train01, train02" in lines
    assert "dev.jsonl: silent or constant audio in 1 of 4 utterances: dev03" in lines
    gmm = load_model(tmp_path / "run").acoustic.gmm  # refuses values that are not finite
    assert gmm.emissions(torch.zeros(36)).isfinite().all()
    assert all(map(math.isfinite, logged(lines, "dev_log_likelihood")))


@pytest.mark.parametrize("kind", ["log_mel", "mfcc"])
def test_quiet_frames_do_not_depend_on_splicing(tones, kind):
    def quiet(n_spliced):
        sizes = {"n_mels": 12, "n_mfcc": 6, "n_deltas": 1, "normalisation": "none"}
        features = FeatureSettings(SAMPLE_RATE, kind, **sizes, n_spliced=n_spliced)
        names = [str(tones.folder / f"{part}.jsonl") for part in ("train", "dev")]
        data = HmmData(HmmSettings(data=HmmDataSettings(*names), features=features))
        data.setup("fit")
        return torch.cat(list(data.quiet_frames()))

    alone, beside = quiet(0), quiet(2)
    torch.testing.assert_close(beside.chunk(5, dim=1)[2], alone)


def test_every_validation_starts_with_the_first_batch(tones):
    names = [str(tones.folder / f"{part}.jsonl") for part in ("train", "dev")]
    data = HmmData(HmmSettings(data=HmmDataSettings(*names, batch_s=1.0)))
    data.setup("fit")
    loader = data.val_dataloader()
    first = next(iter(loader)).ids
    found = [id for batch in loader for id in batch.ids]
    assert sorted(found) == ["dev00", "dev01", "dev02", "dev03"]
    assert found[: len(first)] == first != found


def test_texts_may_be_composed_or_decomposed(tones):
    for part, form in (("train", "NFC"), ("dev", "NFD")):
        utterances = read_manifest(tones.folder / f"{part}.jsonl")
        texts = [unicodedata.normalize(form, u.text.replace("a", "é")) for u in utterances]
        pairs = zip(utterances, texts, strict=True)
        write_manifest(tones.folder / f"{part}.jsonl", [replace(u, text=t) for u, t in pairs])
    assert data_of(tones).tokenizer.symbols == ("<blank>", "b", "é")


def test_each_utterance_is_used_once_at_every_speed(tones):
    def frames(*speeds):
        names = {part: str(tones.folder / f"{part}.jsonl") for part in ("train", "dev")}
        data = HmmData(HmmSettings(data=HmmDataSettings(**names, speeds=speeds)))
        data.setup("fit")
        return data, torch.cat(list(data.frames()))

    data, slow = frames(0.8)
    both = frames(0.8, 1.25)[1]
    torch.testing.assert_close(both, torch.cat([slow, frames(1.25)[1]]), rtol=0, atol=0)
    rate = data.settings.features.sample_rate
    waveforms = [change_speed(read_audio(u.audio, rate), 0.8) for u in data.train]
    by_hand = [
        data.features(torch.from_numpy(w)[None], torch.tensor([len(w)]))[0] for w in waveforms
    ]
    assert len(slow) == sum(map(len, by_hand))
    total = sum(frames.sum(dim=(0, 1), dtype=torch.float64) for frames in by_hand)
    torch.testing.assert_close(slow.double().sum(0), total, rtol=1e-4, atol=1e-2)


def test_processes_share_the_batches(tones):
    data = data_of(tones)
    data.setup("fit")
    batches = [data._train[0]._replace(ids=(str(number),)) for number in range(7)]
    shares = [HmmBatches(batches, rank, 3) for rank in range(3)]
    assert [len(share) for share in shares] == [3, 3, 3]
    drawn = [share[SimpleNamespace(place=place)] for share in shares for place in range(3)]
    assert sorted(batch.ids[0] for batch in drawn if batch.counted) == [*"0123456"]
    assert [batch.counted for batch in drawn] == [True] * 5 + [False] + [True] * 2 + [False]


def test_a_checkpoint_has_the_statistics_of_all_processes(tones):
    data = data_of(tones, model=HmmModelSettings(n_components=20))
    task = HmmTraining(data.settings, data.topology, data.tokenizer.symbols)
    task.counts += 1.0
    checkpoint = {"state_dict": dict(task.state_dict())}
    strategy = SimpleNamespace(reduce=lambda value, reduce_op: 2 * value)
    for first in (True, False):
        task._trainer = SimpleNamespace(strategy=strategy, is_global_zero=first)
        task.on_save_checkpoint(checkpoint)
        assert (checkpoint["state_dict"]["counts"] == 2).all()
        assert (task.counts == 1).all()
        task.on_load_checkpoint(checkpoint)
        assert (checkpoint["state_dict"]["counts"] == (2 if first else 0)).all()
    assert set(STATISTICS) <= checkpoint["state_dict"].keys()


def test_ddp_does_not_copy_statistics_between_processes(tones, tmp_path):
    """DDP copies the buffers of the first process to the others; statistics must stay out."""
    data = data_of(tones, model=HmmModelSettings(n_components=20))
    task = HmmTraining(data.settings, data.topology, data.tokenizer.symbols)
    store = f"file://{tmp_path / 'store'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        copied = {id(buffer) for buffer in DistributedDataParallel(task).modules_buffers}
    finally:
        torch.distributed.destroy_process_group()
    assert id(task.log_weights) in copied
    assert not copied & {id(getattr(task, name)) for name in STATISTICS}


def test_two_processes_train_the_same_model_as_one(options, tmp_path):
    options = [*options, "--schedule.grow_until=1", "--trainer.max_epochs=2"]
    train(options, tmp_path / "one")
    two = ["--out", str(tmp_path / "two"), "--trainer.devices=2", "--trainer.strategy=ddp"]
    command = [sys.executable, str(ROOT / SCRIPT), *options, *two]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = [load_file(tmp_path / run / "weights.safetensors") for run in ("one", "two")]
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
def test_a_gpu_trains_the_same_model(options, tmp_path):
    train(options, tmp_path / "cpu")
    train(options, tmp_path / "gpu", "--trainer.accelerator=gpu")
    found = [load_file(tmp_path / run / "weights.safetensors") for run in ("cpu", "gpu")]
    torch.testing.assert_close(*found, rtol=1e-2, atol=1e-2)


# refusals


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--model.n_components=4", "model.n_components is 4; expected from 5, the states, to 160"),
        ("--model.n_components=161", "model.n_components is 161; expected from 5"),
        ("--model.n_states=0", "model.n_states is 0; expected 1 or more"),
        ("--model.variance_floor=2", "model.variance_floor is 2.0; expected from 0 to 1"),
        ("--model.min_count=-1", "model.min_count is -1.0; expected 0 or more"),
        ("--schedule.grow_until=0", "schedule.grow_until is 0; expected 1 or more"),
        (
            "--schedule.grow_until=5",
            "trainer.max_epochs is 5; expected more than schedule.grow_until, 5",
        ),
        ("--schedule.algorithm=gradient", "schedule.algorithm is 'gradient'; expected"),
        ("--trainer.precision=bf16-true", "trainer.precision is bf16-true; expected 32-true"),
        ("--data.speeds=[1.0,0]", r"data.speeds is \(1.0, 0.0\); expected factors from 0.1 to 10"),
        ("--trainer.max_steps=10", "trainer.max_steps is 10; expected -1 for EM"),
        ("--trainer.limit_train_batches=2", "limit_train_batches is 2; expected 1.0 for EM"),
        ("--trainer.overfit_batches=2", "trainer.overfit_batches is 2; expected 0.0 for EM"),
        ("--trainer.gradient_clip_val=1", "Automatic gradient clipping is not supported"),
        ("--data.lexicon=", "data.lexicon is empty; expected a file, cmudict, or char"),
        ("--data.batch_s=0", "data.batch_s is 0.0; expected more than 0 seconds"),
        ("--data.batch_s=.inf", "data.batch_s is inf; expected more than 0 seconds, finite"),
        ("--features.hop_ms=60", r"train.jsonl: 12 of 12 utterances have fewer frames than .*"),
    ],
)
def test_impossible_settings_are_refused(options, tmp_path, capsys, option, line):
    more = ["--model.n_states=5"] if "hop_ms" in option else []
    with pytest.raises((InputError, SystemExit)) as refused:
        train(options, tmp_path / "run", option, *more)
    text = str(refused.value) + capsys.readouterr().err
    assert re.search(line, text), text


def test_all_unusable_words_and_utterances_are_named(tones):
    (tones.folder / "lexicon.dic").write_text("c K\n")
    with pytest.raises(InputError, match=r"no pronunciation of 2 words .*: a \(\S+\), b \(\S+\);"):
        HmmData(
            HmmSettings(
                data=HmmDataSettings(
                    str(tones.folder / "train.jsonl"),
                    str(tones.folder / "dev.jsonl"),
                    str(tones.folder / "lexicon.dic"),
                )
            )
        )
    utterances = read_manifest(tones.folder / "train.jsonl")
    for number, text in ((1, " ".join("ab" * 20)), (4, "ab" * 30)):
        utterances[number] = replace(utterances[number], text=text)
    write_manifest(tones.folder / "train.jsonl", utterances)
    named = r"train01 \(\d+ for 120\), train04 \(\d+ for 180\)"
    with pytest.raises(InputError, match=rf"train.jsonl: 2 of 12 .*: {named}; take them out of"):
        data_of(tones)


@pytest.mark.parametrize("case", [str.upper, str.lower])
@pytest.mark.parametrize("lexicon", ["a AH\nb B IY\n", "A AH\nB B IY\n", "A AH\nb B IY\n"])
def test_a_lexicon_follows_the_case_of_the_texts(tones, case, lexicon):
    for part in ("train", "dev"):
        path = tones.folder / f"{part}.jsonl"
        utterances = read_manifest(path)
        write_manifest(path, [replace(one, text=case(one.text)) for one in utterances])
    (tones.folder / "lexicon.dic").write_text(lexicon)
    paths = (str(tones.folder / name) for name in ("train.jsonl", "dev.jsonl", "lexicon.dic"))
    data = HmmData(HmmSettings(data=HmmDataSettings(*paths)))
    assert list(data.tokenizer.lexicon.pronunciations) == [case("a"), case("b")]


def test_the_error_says_which_words_the_lexicon_has_in_another_case(tones):
    utterances = read_manifest(tones.folder / "train.jsonl")
    utterances[2] = replace(utterances[2], text="A b")
    write_manifest(tones.folder / "train.jsonl", utterances)
    (tones.folder / "lexicon.dic").write_text("a AH\nb B IY\n")
    paths = (str(tones.folder / name) for name in ("train.jsonl", "dev.jsonl", "lexicon.dic"))
    line = r"no pronunciation of 1 words .*: A \(\S+\); .*; 1 of them, such as A, it has in another"
    with pytest.raises(InputError, match=line):
        HmmData(HmmSettings(data=HmmDataSettings(*paths)))


@pytest.mark.parametrize("word", ["a#", "#", "a(2)", ";;;", "<unk>", "[noise]"])
def test_words_that_a_lexicon_file_can_not_hold_are_refused(tones, word):
    utterances = read_manifest(tones.folder / "train.jsonl")
    utterances[2] = replace(utterances[2], text=f"a {word} b")
    write_manifest(tones.folder / "train.jsonl", utterances)
    line = f"no dictionary can keep: {word}; expected words without #"
    with pytest.raises(InputError, match=re.escape(line)):
        data_of(tones)


@pytest.mark.parametrize("part", ["train", "dev"])
def test_audio_with_fewer_frames_than_states_is_named(tones, part):
    path, settings = tones.folder / f"{part}.jsonl", FeatureSettings(sample_rate=SAMPLE_RATE)
    utterances = [replace(u, text="a b " * 3, duration=0.205) for u in read_manifest(path)]
    write_manifest(path, utterances)  # their durations give 19 frames
    for utterance in utterances:
        waveform, _ = soundfile.read(utterance.audio)
        n_frames = 17 if utterance.id[-2:] in ("01", "03") else 18  # for 18 states
        soundfile.write(utterance.audio, waveform[: 200 + 80 * (n_frames - 1)], SAMPLE_RATE)
    data = data_of(tones, features=settings)
    with pytest.raises(InputError, match=rf"no finite likelihood of {part}01, {part}03; expected"):
        data.setup("fit")


@pytest.mark.parametrize(
    "path",
    sorted(ROOT.glob("conf/*/hmm*.yaml")),
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_the_settings_of_every_corpus_are_valid(path):
    parser = settings_parser("train_hmm", HmmSettings)
    add_trainer_options(parser)
    check_file(parser, path)
