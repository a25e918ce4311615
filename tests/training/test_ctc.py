import fcntl
import itertools
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT, SAMPLE_RATE, Tones, run_script, signal_at
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import asr
import asr.corpus.recordings
from asr.audio.features import Features, FeatureSettings
from asr.audio.load import read_audio
from asr.corpus.manifest import read_manifest, write_manifest
from asr.errors import InputError
from asr.model import load_model
from asr.networks.crf import crf_loss
from asr.networks.ctc import ctc_loss
from asr.text.lexicon import read_lexicon
from asr.training.callbacks import EpochLines
from asr.training.checkpoints import average_weights
from asr.training.ctc import CTCData, CTCSettings, CTCTraining, DataSettings
from asr.training.optim import rate_at
from asr.training.utterances import CheckedSteps, shuffled

SCRIPT = "recipes/train_ctc.py"


def train(tones: Tones, out: Path, *options: str) -> None:
    run_script(SCRIPT, *tones.options, "--out", out, *options)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "weights.safetensors")


def assert_same_weights(one: Path, other: Path) -> None:
    torch.testing.assert_close(weights(one), weights(other), rtol=0, atol=0)


def trained_on(folder: Path) -> dict:
    values = json.loads((folder / "model.json").read_text())["trained_on"]
    return {name: value for name, value in values.items() if name != "minutes"}


@pytest.fixture
def steps(monkeypatch):
    """(ids of the utterances, learning rate) of every training step."""
    seen = []
    original = CTCTraining.training_step

    def step(self, batch, batch_idx):
        seen.append((batch.ids, self.optimizers().param_groups[0]["lr"]))
        return original(self, batch, batch_idx)

    monkeypatch.setattr(CTCTraining, "training_step", step)
    return seen


# an epoch has 7 steps
@pytest.mark.parametrize(
    ("hook", "step", "number", "taken"),
    [
        ("training_step", 0, signal.SIGTERM, 1),
        ("training_step", 9, signal.SIGINT, 10),
        ("training_step", 6, signal.SIGINT, 7),
        ("validation_step", 14, signal.SIGTERM, 14),
    ],
    ids=["first step", "middle of an epoch", "last step of an epoch", "validation"],
)
def test_a_resumed_run_equals_an_uninterrupted_one(
    tones, tmp_path, monkeypatch, capsys, steps, hook, step, number, taken
):
    train(tones, tmp_path / "straight")
    straight = list(steps)
    assert len(straight) == 21
    steps.clear()
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    capsys.readouterr()

    with monkeypatch.context() as patched:
        signal_at(patched, CTCTraining, step, hook, number)
        with pytest.raises(SystemExit) as stopped:
            train(tones, tmp_path / "stopped")
    assert stopped.value.code == 128 + number
    lines = capsys.readouterr().err.splitlines()
    expected = f"stopped after step {taken} of 21; the same command goes on from there"
    assert [line for line in lines if not line.startswith("epoch")] == [expected]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert not (tmp_path / "stopped" / "model.json").exists()

    train(tones, tmp_path / "stopped")
    assert steps == straight  # each batch once, in order, at its learning rate
    assert_same_weights(tmp_path / "straight", tmp_path / "stopped")
    assert trained_on(tmp_path / "straight") == trained_on(tmp_path / "stopped")
    files = [
        sorted(p.name for p in (tmp_path / run / "checkpoints").iterdir())
        for run in ("straight", "stopped")
    ]
    epochs = [f"epoch=000{n}.ckpt" for n in range(3)]  # before.ckpt refers to the first
    assert files[0] == files[1] == ["before.ckpt", *epochs, "last.ckpt"]


def test_a_run_resumes_after_sigkill_and_sigterm(tones, tmp_path):
    options = [*tones.options, "--trainer.max_epochs=40"]
    run_script(SCRIPT, *options, "--out", tmp_path / "straight")
    out = tmp_path / "stopped"

    def stopped_by(number, once):
        command = [sys.executable, SCRIPT, *options, "--out", str(out)]
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        lines = []
        for line in process.stderr:
            lines.append(line.rstrip())
            if line.startswith(once):
                process.send_signal(number)
        return process.wait(), lines

    assert stopped_by(signal.SIGKILL, once="epoch 2 ")[0] == -signal.SIGKILL
    status, lines = stopped_by(signal.SIGTERM, once="epoch ")
    assert status == 128 + signal.SIGTERM
    told = [line for line in lines if not line.startswith("epoch ")]
    assert len(told) == 2, told
    assert re.fullmatch(r"resumed after step \d+, in epoch [2-9]", told[0])
    assert re.fullmatch(r"stopped after step \d+ of 280; the same command .*", told[1])

    run_script(SCRIPT, *options, "--out", out)
    assert_same_weights(tmp_path / "straight", out)


def test_a_long_first_epoch_prints_the_remaining_time(capsys, monkeypatch):
    trainer = SimpleNamespace(
        is_global_zero=True, num_training_batches=10, max_epochs=3, current_epoch=0
    )
    now = itertools.count(0.0, 40.0)
    monkeypatch.setattr("asr.training.callbacks.time.monotonic", lambda: next(now))
    lines = EpochLines()
    for batch in (0, 1):
        lines.on_train_batch_start(trainer, None, None, batch)
        lines.on_train_batch_end(trainer, None, None, None, batch)
    for batch in range(2, 10):
        lines.on_train_batch_end(trainer, None, None, None, batch)
    line = "10 batches an epoch, 3 epochs: about 19 minutes more\n"  # 28 of 40 s each
    assert capsys.readouterr().err == line


def test_a_run_stops_between_steps_of_several_batches(tones, tmp_path, monkeypatch, capsys, steps):
    option = "--trainer.accumulate_grad_batches=2"
    train(tones, tmp_path / "straight", option)
    straight = list(steps)
    steps.clear()
    with monkeypatch.context() as patched:
        signal_at(patched, CTCTraining, 5)
        with pytest.raises(SystemExit):
            train(tones, tmp_path / "stopped", option)
    assert "stopped after step 6 of 12;" in capsys.readouterr().err
    train(tones, tmp_path / "stopped", option)
    assert steps == straight
    assert_same_weights(tmp_path / "straight", tmp_path / "stopped")


def test_the_cache_size_changes_no_result_and_may_differ_when_resuming(
    tones, tmp_path, monkeypatch
):
    train(tones, tmp_path / "kept", "--augment.noise_probability=0.5")
    with monkeypatch.context() as patched:
        signal_at(patched, CTCTraining, 9)
        with pytest.raises(SystemExit):
            train(tones, tmp_path / "read", "--augment.noise_probability=0.5", "--data.cache_gb=0")
    train(tones, tmp_path / "read", "--augment.noise_probability=0.5", "--data.cache_gb=0.0001")
    assert_same_weights(tmp_path / "kept", tmp_path / "read")
    train(tones, tmp_path / "read", "--augment.noise_probability=0.5")  # already finished


@pytest.mark.parametrize("size", [-1, ".nan"])
def test_negative_or_nan_cache_sizes_are_refused(tones, tmp_path, capsys, size):
    with pytest.raises(SystemExit):
        train(tones, tmp_path / "run", f"--data.cache_gb={size}")
    assert "data.cache_gb is " in capsys.readouterr().err


def test_audio_damaged_during_training_is_named_in_one_line(tones, tmp_path, monkeypatch):
    original = CTCTraining.training_step

    def step(self, batch, batch_idx):
        if self.trainer.global_step == 3:
            for path in tones.folder.glob("train*.wav"):
                path.write_bytes(path.read_bytes()[:-400])
        return original(self, batch, batch_idx)

    monkeypatch.setattr(CTCTraining, "training_step", step)
    with pytest.raises(InputError, match=r"^utterance train\d\d: .*train\d\d.wav: is cut short:"):
        train(tones, tmp_path / "run", "--data.cache_gb=0")


def test_a_moved_run_resumes(tones, tmp_path, monkeypatch):
    train(tones, tmp_path / "straight")
    with monkeypatch.context() as patched:
        signal_at(patched, CTCTraining, 14)
        with pytest.raises(SystemExit):
            train(tones, tmp_path / "before")
    (tmp_path / "before").rename(tmp_path / "after")
    train(tones, tmp_path / "after")
    assert_same_weights(tmp_path / "straight", tmp_path / "after")


def test_minutes_of_earlier_processes_count(tones, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        signal_at(patched, CTCTraining, 9)
        with pytest.raises(SystemExit):
            train(tones, tmp_path / "run")
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    checkpoint["callbacks"]["Clock"]["seconds"] += 3600
    torch.save(checkpoint, last)
    train(tones, tmp_path / "run")
    description = json.loads((tmp_path / "run" / "model.json").read_text())
    assert 60 <= description["trained_on"]["minutes"] < 61


def test_the_seed_determines_the_weights(tones, tmp_path):
    for run, seed in (("one", 1), ("again", 1), ("other", 2)):
        train(tones, tmp_path / run, f"--seed={seed}", "--trainer.max_epochs=1")
    assert_same_weights(tmp_path / "one", tmp_path / "again")
    one, other = weights(tmp_path / "one"), weights(tmp_path / "other")
    name = "acoustic.output.weight"
    assert not torch.equal(one[name], other[name])


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_finished_run_is_not_changed(tones, tmp_path, monkeypatch, capsys):
    train(tones, tmp_path / "run")
    before = contents(tmp_path / "run")
    # another file with the same settings, and another path of the same folder
    config = (tones.folder / "ctc.yaml").rename(tones.folder / "other.yaml")
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    options = ["--config", config, *tones.options[2:], "--out", "./run"]
    run_script(SCRIPT, *options)
    assert capsys.readouterr().err == "run: is trained already, with these settings\n"

    with pytest.raises(
        InputError,
        match=r"run: holds a run with other settings \(optim.lr is 0.02 there, 0.01 now\);"
        r" give another --out, or remove the folder",
    ):
        run_script(SCRIPT, *options, "--optim.lr=0.01")
    with pytest.raises(InputError, match=r"\(optim.lr is .* now; seed is 1 there, 4 now\)"):
        run_script(SCRIPT, *options, "--optim.lr=0.01", "--seed=4")

    moved = tones.folder.rename(tmp_path / "elsewhere")
    options[1] = moved / "other.yaml"
    options += [f"--data.train={moved / 'train.jsonl'}", f"--data.dev={moved / 'dev.jsonl'}"]
    run_script(SCRIPT, *options)
    assert capsys.readouterr().err == "run: is trained already, with these settings\n"
    utterances = read_manifest(moved / "train.jsonl")
    write_manifest(moved / "train.jsonl", utterances[1:])
    with pytest.raises(InputError, match=r"run: holds a run on other data \(train differs\)"):
        run_script(SCRIPT, *options)
    assert contents(tmp_path / "run") == before


def test_a_setting_that_an_older_version_did_not_know_had_its_default(tones, tmp_path, capsys):
    out = tmp_path / "run"
    train(tones, out)
    settings = (out / "settings.yaml").read_text()
    (out / "settings.yaml").write_text(settings.replace("  pooling: false\n", ""))
    assert "pooling" not in (out / "settings.yaml").read_text()
    capsys.readouterr()
    train(tones, out)
    assert capsys.readouterr().err.endswith("run: is trained already, with these settings\n")
    (out / "settings.yaml").write_text(settings.replace("  cell: lstm\n", ""))
    with pytest.raises(InputError, match=r"settings \(model.cell is lstm there, gru now\)"):
        train(tones, out, "--model.cell=gru")


def test_best_epochs_are_averaged_and_patience_ends_training(tones, tmp_path, monkeypatch):
    rates = iter([0.9, 0.5, 0.8, 0.4, 0.6, 0.7, 0.1])

    def at_epoch_end(self):
        self.log("dev_wer", next(rates))

    monkeypatch.setattr(CTCTraining, "on_validation_epoch_end", at_epoch_end)
    options = ["--averaging.which=best", "--averaging.patience=2", "--trainer.max_epochs=7"]
    train(tones, tmp_path / "run", *options)
    assert trained_on(tmp_path / "run")["epochs"] == 6  # the fourth is the best, two more follow
    checkpoints = [tmp_path / "run" / "checkpoints" / f"epoch=000{n}.ckpt" for n in (1, 3)]
    kept = (tmp_path / "run" / "checkpoints").glob("epoch=*")
    assert sorted(kept) == checkpoints
    mean = average_weights(checkpoints)
    states = [torch.load(path, weights_only=True)["state_dict"] for path in checkpoints]
    for name, value in weights(tmp_path / "run").items():
        torch.testing.assert_close(value, mean[name], rtol=0, atol=0)
        torch.testing.assert_close(value, (states[0][name] + states[1][name]) / 2)


@pytest.fixture
def refused_steps(monkeypatch):
    """(step, whether weights and optimiser state are unchanged) after each step."""
    state = {}
    pairs = []

    def snapshot(task):
        tensors = {name: p.detach().clone() for name, p in task.named_parameters()}
        for n, values in enumerate(task.optimizers().optimizer.state.values()):
            tensors |= {f"{n} {name}": value.clone() for name, value in values.items()}
        return tensors

    original = CTCTraining.on_train_batch_start

    def start(self, *args):
        state["before"] = snapshot(self)
        original(self, *args)

    def end(self, *args):
        after = snapshot(self)
        same = state["before"].keys() == after.keys() and all(
            torch.equal(state["before"][name], value) for name, value in after.items()
        )
        pairs.append((self.trainer.global_step, same))

    monkeypatch.setattr(CTCTraining, "on_train_batch_start", start)
    monkeypatch.setattr(CTCTraining, "on_train_batch_end", end)
    return pairs


def not_taken(err: str) -> list[str]:
    return [line for line in err.splitlines() if not line.startswith("epoch ")]


@pytest.mark.parametrize("step", [{}, {"SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "1"}])
def test_a_shell_in_a_slurm_job_trains_in_one_process(tones, tmp_path, monkeypatch, step):
    job = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_JOB_NAME": "train"}
    for name, value in {**job, "SLURM_PROCID": "0", "SLURM_LOCALID": "0", **step}.items():
        monkeypatch.setenv(name, value)
    train(tones, tmp_path / "run", "--trainer.max_epochs=1")
    assert (tmp_path / "run" / "model.json").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_a_loss_that_is_not_finite_skips_the_step_and_names_its_utterance(
    tones, tmp_path, monkeypatch, capsys, refused_steps, value
):
    def spoilt(path, sample_rate):
        waveform = read_audio(path, sample_rate)
        if "train05" in str(path):
            waveform[500] = value
        return waveform

    monkeypatch.setattr(asr.corpus.recordings, "read_audio", spoilt)
    train(tones, tmp_path / "run", "--trainer.max_epochs=2")
    lines = not_taken(capsys.readouterr().err)
    assert len(lines) == 2  # once an epoch
    for line in lines:
        step = int(re.fullmatch(r"step (\d+) not taken: .* is not finite: .*train05.*", line)[1])
        assert (step, True) in refused_steps
        assert "the loss is not finite: train05" in line
    assert sum(same for _, same in refused_steps) == 2  # all other steps changed something
    assert all(value.isfinite().all() for value in weights(tmp_path / "run").values())


def test_a_gradient_that_is_not_finite_skips_the_step_and_names_its_batch(
    tones, tmp_path, monkeypatch, capsys, refused_steps, steps
):
    original = CTCTraining.training_step

    def step(self, batch, batch_idx):
        loss = original(self, batch, batch_idx)
        if self.trainer.global_step == 3:
            loss.register_hook(lambda gradient: gradient * torch.inf)
        return loss

    monkeypatch.setattr(CTCTraining, "training_step", step)
    train(tones, tmp_path / "run", "--trainer.max_epochs=1")
    ids = ", ".join(steps[3][0])
    expected = f"step 4 not taken: the gradient is not finite: {ids}"
    assert not_taken(capsys.readouterr().err) == [expected]
    assert [step for step, same in refused_steps if same] == [4]


def test_the_gradient_of_an_impossible_alignment_is_not_finite():
    # steps are skipped because of the gradient, which is the same in all processes
    logits = torch.zeros(2, 1, 3, requires_grad=True)
    lengths = torch.tensor([2]), torch.tensor([3])
    loss = asr.training.ctc.ctc_loss(logits.log_softmax(2), torch.tensor([[1, 2, 1]]), *lengths)
    loss.sum().backward()
    assert not logits.grad.isfinite().all()


def test_all_texts_too_long_for_their_audio_are_named_before_training(tones, tmp_path):
    path = tones.folder / "train.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[2]["text"] = rows[7]["text"] = "a" * 40
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError) as refused:
        train(tones, tmp_path / "run")
    line = str(refused.value)
    assert re.search(
        r"train.jsonl: 2 of 12 .* train02 \(\d+ for 79\), train07 \(\d+ for 79\)", line
    )
    assert "lower model.time_reduction (2) or features.hop_ms (10.0)" in line
    assert not (tmp_path / "run").exists()  # so that other settings can be tried


def lexicon_options(folder: Path, *lines: str) -> list[str]:
    (folder / "lexicon.dic").write_text("".join(line + "\n" for line in lines))
    return ["--data.tokens=phone", f"--data.lexicon={folder / 'lexicon.dic'}"]


def logged(monkeypatch) -> dict[str, list[float]]:
    """The values logged on development data, for each epoch."""
    values: dict[str, list[float]] = {}
    original = CTCTraining.log

    def log(self, name, value, *arguments, **options):
        if name.startswith("dev_"):
            values.setdefault(name, []).append(float(value))
        return original(self, name, value, *arguments, **options)

    monkeypatch.setattr(CTCTraining, "log", log)
    return values


def test_phones_of_the_first_pronunciation_are_learned(tones, tmp_path, monkeypatch):
    values = logged(monkeypatch)
    options = lexicon_options(tmp_path, "A EY", "A(2) AH", "B B IY", "c S IY")
    options += ["--trainer.max_epochs=20", "--model.dropout=0", "--augment.speeds=[1.0]"]
    train(tones, tmp_path / "run", *options, "--averaging.which=best")
    tokenizer = load_model(tmp_path / "run").tokenizer
    assert tokenizer.symbols == ("<blank>", "AH", "B", "EY", "IY", "S")
    assert tokenizer.lexicon == read_lexicon(tmp_path / "lexicon.dic").in_case("lower")
    assert set(values) == {"dev_loss", "dev_per"}  # no error rates of words or characters
    assert min(values["dev_per"]) < 0.2
    assert asr.load(tmp_path / "run").transcribe(tones.folder / "dev00.wav").text.split()


def test_word_pieces_are_learned(tones, tmp_path, monkeypatch):
    values = logged(monkeypatch)
    options = ["--trainer.max_epochs=10", "--model.dropout=0", "--augment.speeds=[1.0]"]
    train(tones, tmp_path / "run", "--data.tokens=bpe", "--data.n_pieces=5", *options)
    tokenizer = load_model(tmp_path / "run").tokenizer
    assert set(tokenizer.symbols) == {"<blank>", "▁", "a", "b", "▁a", "▁b"}
    assert set(values) == {"dev_loss", "dev_wer", "dev_cer"}
    assert min(values["dev_wer"]) < 0.2


def test_jamo_are_learned(tones, tmp_path, monkeypatch):
    for part in ("train", "dev"):
        path = tones.folder / f"{part}.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            row["text"] = row["text"].replace("a", "가").replace("b", "누")
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = logged(monkeypatch)
    options = ["--trainer.max_epochs=20", "--model.dropout=0", "--augment.speeds=[1.0]"]
    train(tones, tmp_path / "run", "--data.tokens=jamo", *options)
    tokenizer = load_model(tmp_path / "run").tokenizer
    assert tokenizer.symbols == ("<blank>", *" \u1100\u1102\u1161\u116e")
    assert set(values) == {"dev_loss", "dev_wer", "dev_cer"}
    assert min(values["dev_cer"]) < 0.2
    assert set(asr.load(tmp_path / "run").transcribe(tones.folder / "dev00.wav").text) <= set(
        " 가누"
    )


def test_all_words_without_pronunciation_are_named_before_training(tones, tmp_path):
    for part, number, text in (("train", 2, "a z"), ("train", 4, "q z"), ("dev", 1, "a y")):
        path = tones.folder / f"{part}.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        rows[number]["text"] = text
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    line = r"^.*lexicon.dic: has no pronunciation of 3 words of the utterances:"
    line += r" q \(train04\), y \(dev01\), z \(train02\); expected all words of train and dev$"
    with pytest.raises(InputError, match=line):
        train(tones, tmp_path / "run", *lexicon_options(tmp_path, "a EY", "b B IY"))
    assert not (tmp_path / "run").exists()


def test_a_run_with_another_lexicon_is_refused(tones, tmp_path):
    train(tones, tmp_path / "run", *lexicon_options(tmp_path, "a EY", "b B IY"))
    options = lexicon_options(tmp_path, "a AH", "b B IY")
    with pytest.raises(InputError, match=r"holds a run on other data \(lexicon differs\)"):
        train(tones, tmp_path / "run", *options)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"tokens": "bpe"}, "data.n_pieces is 0; expected 1 or more with bpe"),
        ({"n_pieces": 9}, "data.n_pieces is 9; expected 0 with char"),
        ({"tokens": "phone"}, "data.lexicon is empty; expected a file, or cmudict, with phone"),
        ({"lexicon": "cmudict"}, "data.lexicon is cmudict; expected none with char"),
    ],
)
def test_settings_that_do_not_match_the_tokens_are_refused(values, line):
    with pytest.raises(InputError, match=line):
        DataSettings(**values)


def test_more_pieces_than_the_texts_have_are_refused(tones, tmp_path):
    with pytest.raises(InputError, match=r"train.jsonl: n_pieces is 6; the texts give at most 5"):
        train(tones, tmp_path / "run", "--data.tokens=bpe", "--data.n_pieces=6")


def test_a_dev_text_with_an_unknown_character_is_refused(tones, tmp_path):
    path = tones.folder / "dev.jsonl"
    path.write_text(path.read_text().replace('"text": "', '"text": "x', 1))
    with pytest.raises(
        InputError,
        match=r"dev.jsonl: the tokens of the training texts can't spell 1 of \d+ texts, such as"
        r" that of utterance dev00: character 'x' \(U\+0078\) is not in the alphabet",
    ):
        train(tones, tmp_path / "run")


def test_global_moments_are_those_of_the_training_set(tones, tmp_path):
    options = ["--features.normalisation=global", "--augment.speeds=[1.0]", "--features.n_deltas=1"]
    train(tones, tmp_path / "run", "--trainer.max_epochs=1", *options)
    settings = FeatureSettings(sample_rate=SAMPLE_RATE, n_mels=12, n_deltas=1, normalisation="none")
    frames = []
    for utterance in read_manifest(tones.folder / "train.jsonl"):
        waveform = torch.from_numpy(read_audio(utterance.audio, SAMPLE_RATE))
        features, _ = Features(settings)(waveform[None], torch.tensor([len(waveform)]))
        frames.append(features[:, 0].double().numpy())
    found = weights(tmp_path / "run")
    stacked = np.concatenate(frames)
    np.testing.assert_allclose(found["features.mean"], stacked.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found["features.std"], stacked.std(0), rtol=1e-5)


def test_a_damaged_checkpoint_is_named(tones, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        signal_at(patched, CTCTraining, 9)
        with pytest.raises(SystemExit):
            train(tones, tmp_path / "run")
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-1000])
    before = last.with_name("before.ckpt")
    before.unlink()
    with pytest.raises(InputError, match=r"last.ckpt: is damaged: .*; remove .*run to train"):
        train(tones, tmp_path / "run")


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--trainer.accelerator=fox", "Lightning refuses the settings under trainer: .*fox"),
        ("--trainer.strategy=ddp_spawn", "trainer.strategy is ddp_spawn; expected auto, ddp"),
        ("--trainer.max_epochs=0", "no epoch was kept"),
        ("--trainer.max_epochs=-1", "trainer.max_epochs is -1; expected 1 or more"),
        ("--trainer.limit_val_batches=0", "no epoch was kept"),
    ],
)
def test_impossible_trainer_settings_are_refused(tones, tmp_path, option, line):
    with pytest.raises(InputError, match=line):
        train(tones, tmp_path / "run", "--averaging.which=best", option)


def test_the_learning_rate_has_linear_warm_up_and_cosine_decay():
    rates = np.array([rate_at(step, 100, 0.1) for step in range(101)])
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 11)
    falling = 0.5 * (1 + np.cos(np.pi * np.arange(91) / 90))
    np.testing.assert_allclose(rates[10:], falling, atol=1e-15)


def test_two_processes_in_one_folder_are_refused(tones, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    with (out / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as another training process does
        with pytest.raises(InputError, match=f"^{out}: another process trains there"):
            train(tones, out)
    assert [path.name for path in out.iterdir()] == [".lock"]


def test_utterances_in_train_and_dev_are_named(tones, tmp_path, capsys):
    lines = (tones.folder / "train.jsonl").read_text().splitlines()
    (tones.folder / "both.jsonl").write_text("\n".join(lines[:2]) + "\n")
    settings = CTCSettings(
        data=DataSettings(str(tones.folder / "train.jsonl"), str(tones.folder / "both.jsonl")),
        features=FeatureSettings(sample_rate=8000),
    )
    CTCData(settings)
    line = "both.jsonl: 2 of 2 utterances are in "
    assert line in capsys.readouterr().err


def test_missing_audio_is_named_before_training(tones, tmp_path):
    manifest = tones.folder / "train.jsonl"
    utterances = read_manifest(manifest)
    Path(utterances[2].audio).unlink()
    message = f"1 of {len(utterances)} utterances have no audio file: {utterances[2].id}"
    with pytest.raises(InputError, match=message):
        train(tones, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_several_processes_share_the_batches_and_say_so(capsys):
    dataset = SimpleNamespace(
        utterances=[SimpleNamespace(duration=1.0)] * 6, duration=lambda draw: 1.0
    )
    taken = []
    for rank in range(2):
        trainer = SimpleNamespace(global_rank=rank, world_size=2, is_global_zero=not rank)
        (batch,) = shuffled(dataset, 3.0, 0, trainer).batches(0)
        taken += [draw.index for draw in batch]
    assert sorted(taken) == list(range(6))
    line = capsys.readouterr().err
    assert line.startswith("2 processes: a step takes 2 batches of 3 s together, ")
    assert line.endswith("; data.batch_s=1.5 keeps steps as large\n")
    shuffled(dataset, 3.0, 0, SimpleNamespace(global_rank=0, world_size=1, is_global_zero=True))
    assert capsys.readouterr().err == ""


def scalars(folder: Path) -> EventAccumulator:
    """What a training gave TensorBoard."""
    (inside,) = {path.parent for path in folder.rglob("events.out.*")}
    events = EventAccumulator(str(inside), size_guidance={"images": 0})
    return events.Reload()


@pytest.mark.parametrize(("largest", "clipped"), [("1e-6", 1.0), ("1e6", 0.0)])
def test_the_share_and_the_scale_of_clipped_gradients_are_logged(
    tones, tmp_path, capsys, largest, clipped
):
    limit = f"--trainer.gradient_clip_val={largest}"
    train(tones, tmp_path / "run", "--trainer.max_epochs=1", limit)
    assert f" clipped {clipped:.4f} " in capsys.readouterr().err
    (scale,) = scalars(tmp_path / "run").Scalars("clip/scale")
    assert scale.value < 1e-3 if clipped else scale.value == 1.0


def test_tensorboard_gets_the_networks_memory_at_the_chosen_interval(tones, tmp_path):
    train(tones, tmp_path / "run", "--trainer.max_epochs=4", "--memory_every=2")
    events = scalars(tmp_path / "run")
    for name in ("memory/before_ms", "memory/after_ms"):
        assert len(events.Scalars(name)) == 2
        assert 0 < events.Scalars(name)[-1].value <= 2000
    assert len(events.Images("memory")) == 2


@pytest.mark.parametrize(
    ("validated", "every", "at"),
    [(1, 2, [2, 4, 6]), (3, 2, [3, 6]), (2, 3, [4]), (1, 10, [])],
)
def test_memory_is_logged_once_its_interval_has_passed(
    tones, tmp_path, monkeypatch, validated, every, at
):
    logged = []

    def note(task, features):
        logged.append((task.current_epoch + 1, len(features)))

    monkeypatch.setattr(CTCTraining, "_log_memory", note)
    options = ("--trainer.max_epochs=6", f"--trainer.check_val_every_n_epoch={validated}")
    train(tones, tmp_path / "run", *options, f"--memory_every={every}")
    dev = read_manifest(tones.folder / "dev.jsonl")
    settings = FeatureSettings(sample_rate=SAMPLE_RATE)
    longest = settings.n_frames(round(max(u.duration for u in dev) * SAMPLE_RATE))
    assert logged == [(epoch, longest) for epoch in at]


def test_memory_of_a_resumed_training_is_logged_at_the_same_epochs(tones, tmp_path, monkeypatch):
    logged = []
    monkeypatch.setattr(
        CTCTraining, "_log_memory", lambda task, _: logged.append(task.current_epoch + 1)
    )
    options = (tmp_path / "run", "--trainer.max_epochs=4", "--memory_every=2")
    with monkeypatch.context() as patched:
        signal_at(patched, CTCTraining, 15)  # in the third epoch
        with pytest.raises(SystemExit):
            train(tones, *options)
    train(tones, *options)
    assert logged == [2, 4]


class OneWeight:
    """What `CheckedSteps` needs of a training task."""

    def __init__(self):
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.trainer = SimpleNamespace(global_step=0)

    def parameters(self):
        return [self.weight]

    def log(self, *args, **options):
        pass

    def clip_gradients(self, optimizer, value, algorithm):
        torch.nn.utils.clip_grad_norm_(self.parameters(), value)


def test_a_gradient_that_explodes_names_the_utterances_of_its_step(capsys):
    task, steps = OneWeight(), CheckedSteps()
    norms = [500.0, *[1.0 + 0.1 * (n % 5) for n in range(30)], 11.5, 13.2, 1.0]
    for step, norm in enumerate(norms):
        task.trainer.global_step = step
        task.weight.grad = torch.tensor([norm])
        steps.note([f"u{step}", f"v{step}"], torch.ones(2))
        steps.clip(task, None, 5.0, "norm")
        assert task.weight.grad.item() == pytest.approx(min(norm, 5.0))
    # the first 20 steps are compared with none; the median is 1.2
    assert capsys.readouterr().err.splitlines() == [
        "step 33: the gradient's norm is 13.2, 11 times the median: u32, v32"
    ]


def test_a_training_starts_from_the_weights_of_a_model(tones, tmp_path, monkeypatch):
    train(tones, tmp_path / "first")
    started = []
    begin = CTCTraining.on_fit_start

    def noting(task):
        begin(task)
        started.append(task.acoustic.output.weight.detach().clone())

    monkeypatch.setattr(CTCTraining, "on_fit_start", noting)
    start = f"--data.start={tmp_path / 'first'}"
    train(tones, tmp_path / "second", start, "--model.dropout=0", "--trainer.max_epochs=1")
    first, second = (load_model(tmp_path / name) for name in ("first", "second"))
    assert second.tokenizer == first.tokenizer
    assert second.trained_on["start"] == str(tmp_path / "first")
    assert torch.equal(started[0], weights(tmp_path / "first")["acoustic.output.weight"])
    assert not torch.equal(started[0], second.acoustic.output.weight)

    with pytest.raises(InputError, match=r"model.hidden_size is 8 there, 4 now; expected the same"):
        train(tones, tmp_path / "third", start, "--model.hidden_size=4")
    with pytest.raises(InputError, match=r"data.tokens is unit; expected char, as in data.start"):
        train(tones, tmp_path / "third", start, "--data.tokens=unit")
    lines = (tones.folder / "train.jsonl").read_text().replace('"text": "', '"text": "c ', 1)
    (tones.folder / "train.jsonl").write_text(lines)
    with pytest.raises(InputError, match=r"train.jsonl: the tokens .* can't spell 1 of 12 texts"):
        train(tones, tmp_path / "third", start)


def test_phones_of_a_model_to_start_from_are_kept(tones, tmp_path):
    options = lexicon_options(tmp_path, "a  X", "b  Y")
    train(tones, tmp_path / "first", *options, "--trainer.max_epochs=1")
    start = f"--data.start={tmp_path / 'first'}"
    more = lexicon_options(tmp_path, "a  Y X", "b  Y", "ab  X")
    train(tones, tmp_path / "second", *more, start, "--trainer.max_epochs=1")
    first, second = (load_model(tmp_path / name).tokenizer for name in ("first", "second"))
    assert second.symbols == first.symbols
    assert second.words == ("a", "b", "ab")
    other = lexicon_options(tmp_path, "a  X", "b  Z")
    line = r"lexicon.dic: the lexicon has phone 'Z' in 'b', which is not in symbols; .*data.start"
    with pytest.raises(InputError, match=line):
        train(tones, tmp_path / "third", *other, start)


def test_a_crf_is_trained_with_the_trigram_of_the_texts(tones, tmp_path, monkeypatch):
    seen = []

    def noted(log_probs, targets, input_lengths, target_lengths, trigram, ctc_weight):
        arguments = log_probs, targets, input_lengths, target_lengths
        losses = crf_loss(*arguments, trigram, ctc_weight)
        seen.append((losses.mean().item(), ctc_loss(*arguments).mean().item(), trigram))
        return losses

    monkeypatch.setattr("asr.training.ctc.crf_loss", noted)
    train(tones, tmp_path / "first")
    assert not seen
    options = ["--loss.name=ctc-crf", "--loss.ctc_weight=0.2", "--trainer.max_epochs=20"]
    train(tones, tmp_path / "run", f"--data.start={tmp_path / 'first'}", *options)
    (first, _, trigram), (last, ctc, _) = seen[0], seen[-1]
    assert 0 < last - 0.2 * ctc < first / 2
    assert trigram.after[0, 0].sum() + trigram.ends[0, 0] == pytest.approx(1.0, abs=0.2)
    dev = read_manifest(tones.folder / "dev.jsonl")

    def n_right(name):
        recognizer = asr.load(tmp_path / name)
        return sum(recognizer.transcribe(one.audio).text == one.text for one in dev)

    assert n_right("run") > n_right("first")
