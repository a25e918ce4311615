import json
import math
import re
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT, run_script, signal_at
from safetensors.torch import load_file

import asr.training.stream
from asr.config import check_file, settings_parser
from asr.errors import InputError
from asr.lm.load import load_language_model
from asr.lm.rnnlm import RNNLM, RNNLMSettings
from asr.lm.vocabulary import EOS, UNK, Vocabulary
from asr.training.lm import LMData, LMDataSettings, LMSettings, LMTraining, mean_loss, measures
from asr.training.run import add_trainer_options
from asr.training.stream import (
    ChunkDraw,
    Chunks,
    ChunkSampler,
    Counts,
    Stream,
    digest_of_sentences,
    encode,
)

SCRIPT = "recipes/train_lm.py"
SETTINGS = """
data:
  rows: 3
  chunk: 5
model:
  embedding_size: 6
  hidden_size: 8
optim:
  lr: 0.02
averaging:
  n_epochs: 2
trainer:
  max_epochs: 3
  accelerator: cpu
  log_every_n_steps: 1
"""
SMALL = RNNLMSettings(embedding_size=6, hidden_size=8)
DROPOUT = [
    *("--model.dropout_input=0.2", "--model.dropout_output=0.3", "--model.weight_drop=0.2"),
    "--model.variational=true",
]


@pytest.fixture
def corpus(tmp_path):
    """The options of `train_lm`, without --out, for 60 training and 19 development units."""
    generator = np.random.default_rng(0)
    for part, size in (("train", 15), ("dev", 5)):
        lines = [" ".join(generator.choice(list("abcd"), size=2 + n % 3)) for n in range(size)]
        (tmp_path / f"{part}.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "lm.yaml").write_text(SETTINGS)
    data = [f"--data.{part}={tmp_path / part}.txt" for part in ("train", "dev")]
    return ["--config", str(tmp_path / "lm.yaml"), *data]


def names_of(folder: Path) -> dict[str, str]:
    return {part: str(folder / f"{part}.txt") for part in ("train", "dev")}


def train(corpus: list[str], out: Path, *options: str) -> None:
    run_script(SCRIPT, *corpus, "--out", out, *options)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "weights.safetensors")


def trained_on(folder: Path) -> dict:
    values = json.loads((folder / "model.json").read_text())["trained_on"]
    return {name: value for name, value in values.items() if name != "minutes"}


def stream_of(units) -> Stream:
    return Stream(np.asarray(units), Counts(sentences=0, units=len(units), unknown=0, empty=0))


@pytest.fixture
def steps(monkeypatch):
    """(chunk, state before it) of every training step."""
    seen = []
    original = LMTraining.training_step

    def step(self, batch, batch_idx):
        before = None if self._state is None or batch.begins.all() else self._state.clone()
        seen.append((batch, before))
        return original(self, batch, batch_idx)

    monkeypatch.setattr(LMTraining, "training_step", step)
    return seen


# the stream and its chunks


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 40, 41])
@pytest.mark.parametrize("chunk", [1, 4, 5, 1000])
def test_every_unit_is_a_target_once_an_epoch(rows, chunk):
    U = 41  # each position of the stream is a unit of its own
    chunks = Chunks(stream_of(np.arange(U)), rows, chunk, seed=3)
    for epoch in range(3):
        drawn = [chunks[ChunkDraw(place, epoch)] for place in range(len(chunks))]
        lengths = [len(one.targets) for one in drawn]
        assert max(lengths) <= chunk
        assert max(lengths) - min(lengths) <= 1
        targets = torch.cat([one.targets for one in drawn])
        counted = torch.cat([one.counted for one in drawn])
        inputs = torch.cat([one.inputs for one in drawn])
        assert sorted(targets[counted].tolist()) == list(range(U))
        assert torch.equal(inputs, (targets - 1) % U)
        assert torch.equal(targets[1:], inputs[1:] + 1 - (inputs[1:] == U - 1) * U)
        for n in range(rows):  # a row is a part of the stream, and the next row continues it
            row = targets[counted[:, n], n]
            assert torch.equal((row[1:] - row[:-1]) % U, torch.ones(len(row) - 1).long())
            assert targets[0, (n + 1) % rows] == (row[-1] + 1) % U
        assert counted[:-1].all()
        assert [one.size for one in drawn] == [int(one.counted.sum()) for one in drawn]
    starts = {int(chunks[ChunkDraw(0, epoch)].targets[0, 0]) for epoch in range(10)}
    assert len(starts) > 5  # epochs start at different positions
    assert Chunks(stream_of(np.arange(U)), rows, chunk)[ChunkDraw(0, 5)].targets[0, 0] == 0


def test_processes_share_the_rows():
    stream = stream_of(np.arange(50) % 3)
    whole = Chunks(stream, 6, 4, 0.5, seed=1)
    shares = [Chunks(stream, 6, 4, 0.5, seed=1, share=(rank, 3)) for rank in range(3)]
    for place in range(len(whole)):
        expected = whole[ChunkDraw(place, 2)]
        parts = [share[ChunkDraw(place, 2)] for share in shares]
        for name in ("inputs", "targets", "counted", "begins"):
            joined = torch.cat([getattr(part, name) for part in parts], -1)
            assert torch.equal(joined, getattr(expected, name))
        assert {part.size for part in parts} == {expected.size}


def test_a_sampler_resumes_in_the_middle_of_an_epoch():
    straight = ChunkSampler(5)
    expected = [*straight, *straight]
    stopped = ChunkSampler(5)
    first = [draw for draw, _ in zip(stopped, range(3), strict=False)]
    resumed = ChunkSampler(5)
    resumed.load_state_dict({"epoch": 0, "taken": 3})
    assert [*first, *resumed, *resumed] == expected


def test_rows_restart_at_sentences_with_the_given_probability():
    chunks = Chunks(stream_of(np.arange(10_000) % 5), 50, 7, restart=0.3, seed=2)
    assert chunks[ChunkDraw(0, 0)].begins.all()
    later = [chunks[ChunkDraw(place, epoch)] for epoch in (0, 1) for place in range(1, len(chunks))]
    begins = torch.cat([one.begins for one in later])
    sentences = torch.cat([one.inputs[0] for one in later]) == EOS
    assert not begins[~sentences].any()
    assert begins[sentences].float().mean() == pytest.approx(0.3, abs=0.05)  # of 560
    assert torch.equal(chunks[ChunkDraw(1, 1)].begins, chunks[ChunkDraw(1, 1)].begins)
    always = Chunks(stream_of(np.arange(100) % 5), 5, 7, restart=1, seed=2)[ChunkDraw(1, 0)]
    assert torch.equal(always.begins, always.inputs[0] == EOS)


@pytest.mark.parametrize(("rows", "processes"), [(0, 1), (8, 1), (3, 2)])
def test_an_impossible_number_of_rows_is_refused(rows, processes):
    with pytest.raises(ValueError, match=f"rows is {rows}; expected"):
        Chunks(stream_of(np.arange(7)), rows, 4, share=(0, processes))


def test_a_corpus_is_encoded_in_a_memory_mapped_file(tmp_path):
    source = tmp_path / "corpus.txt"
    source.write_text("to be or\n\nnot to be\n...\nwhat\n")
    vocabulary = Vocabulary.from_texts(["to be or not"])
    stream = encode(str(source), vocabulary, tmp_path / "units" / "train.units")
    assert isinstance(stream.units, np.memmap)
    assert stream.units.dtype == np.uint16
    lines = ["to be or", "not to be", "what"]
    expected = [unit for line in lines for unit in (*vocabulary.encode(line), EOS)]
    assert stream.units.tolist() == expected
    assert stream.counts == Counts(sentences=3, units=10, unknown=1, empty=1)
    assert expected[-2:] == [UNK, EOS]

    source.unlink()  # the files of an earlier process are reused
    again = encode(str(source), vocabulary, tmp_path / "units" / "train.units")
    assert again.units.tolist() == expected
    assert again.counts == stream.counts

    many = Vocabulary("word", ("<unk>", "<eos>", *(str(n) for n in range(1 << 16))))
    source.write_text("65535\n")
    wide = encode(str(source), many, tmp_path / "units" / "wide.units")
    assert wide.units.tolist() == [65537, EOS]


def test_memory_does_not_grow_with_the_corpus(tmp_path, monkeypatch):
    monkeypatch.setattr(asr.training.stream, "BLOCK", 500)
    vocabulary = Vocabulary.from_texts(["a b c d"])
    peaks = []
    for times in (8, 1, 200):  # the first time, Python fills its own caches
        source = tmp_path / f"{len(peaks)}.txt"
        source.write_text("a b c d d c b a b\n" * 200 * times)
        tracemalloc.start()
        digest_of_sentences(str(source))
        chunks = Chunks(encode(str(source), vocabulary, source.with_suffix(".units")), 8, 20)
        for place in range(len(chunks)):
            chunks[ChunkDraw(place, 0)]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # in bytes: the text has 717,000 more, and so have its units with 2 each; a busy process has
    # been seen to take 160,000 more by itself
    assert peaks[2] < peaks[1] + 350_000


def test_an_incomplete_stream_is_written_again(tmp_path):
    source = tmp_path / "corpus.txt"
    source.write_text("a b\nc\n")
    vocabulary = Vocabulary.from_texts(["a b c"])
    (tmp_path / "x.units").write_bytes(b"\x02\x00")  # without its counts, so it is incomplete
    assert len(encode(str(source), vocabulary, tmp_path / "x.units")) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.txt", "x.json", "x.units"]


# training


def by_hand(state_dict, inputs, targets):
    """Losses of an LSTM language model with untied weights, computed gate by gate, row by row."""
    W = {name.removeprefix("model."): value for name, value in state_dict.items()}
    layer = {name.rpartition(".")[2]: value for name, value in W.items() if "forwards.0" in name}
    H = layer["weight_hh_l0"].shape[1]
    losses = []
    for n in range(inputs.shape[1]):
        h = c = inputs.new_zeros(H, dtype=torch.float64)
        for x, y in zip(inputs[:, n], targets[:, n], strict=True):
            gates = layer["weight_ih_l0"] @ W["embedding.weight"][x] + layer["bias_ih_l0"]
            gates = gates + layer["weight_hh_l0"] @ h + layer["bias_hh_l0"]
            i, f, g, o = gates[:H], gates[H : 2 * H], gates[2 * H : 3 * H], gates[3 * H :]
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            scores = W["output.weight"] @ h + W["output.bias"]
            losses.append(scores.exp().sum().log() - scores[y])
    return losses


@pytest.mark.parametrize("rows", [1, 4])
def test_one_chunk_has_the_gradient_of_full_backpropagation(
    corpus, tmp_path, monkeypatch, steps, rows
):
    found = []

    def keep(self, optimizer):
        values = {name: p.detach().clone() for name, p in self.named_parameters()}
        found.append((values, {name: p.grad.clone() for name, p in self.named_parameters()}))

    monkeypatch.setattr(LMTraining, "on_before_optimizer_step", keep, raising=False)
    options = ["--model.tied=false", "--trainer.precision=64-true", "--trainer.max_epochs=1"]
    train(corpus, tmp_path / "run", f"--data.rows={rows}", "--data.chunk=1000", *options)
    assert len(found) == 1
    (chunk, _), (values, gradients) = steps[0], found[0]
    units = np.fromfile(next((tmp_path / "run" / "units").glob("train-*.units")), "<u2")
    assert chunk.size == len(units)

    parameters = {name: value.requires_grad_() for name, value in values.items()}
    losses = by_hand(parameters, chunk.inputs, chunk.targets)
    counted = chunk.counted.T.flatten()
    mean = sum(loss for loss, one in zip(losses, counted, strict=True) if one) / len(units)
    expected = torch.autograd.grad(mean, list(parameters.values()))
    for name, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-9, atol=1e-12)


def test_the_state_is_carried_from_chunk_to_chunk(corpus, tmp_path, steps):
    """With a learning rate of nearly 0, the states are those of one long forward pass."""
    options = ["--optim.lr=1e-30", "--trainer.precision=64-true", "--trainer.max_epochs=2"]
    options += ["--data.restart=0"]
    train(corpus, tmp_path / "run", *options)
    checkpoint = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    model = RNNLM(load_language_model(tmp_path / "run").vocabulary, SMALL).double()
    model.load_state_dict(
        {name.removeprefix("model."): value for name, value in checkpoint["state_dict"].items()}
    )
    epochs = [steps[: len(steps) // 2], steps[len(steps) // 2 :]]
    for epoch in epochs:
        assert epoch[0][1] is None  # every epoch starts from the initial state
        state = model.zero_state(3)
        for chunk, before in epoch:
            if before is not None:
                torch.testing.assert_close(before, state, rtol=1e-12, atol=1e-15)
            _, state = model(chunk.inputs, state)
        inputs = torch.cat([chunk.inputs for chunk, _ in epoch])
        _, last = model(inputs, model.zero_state(3))
        torch.testing.assert_close(last, state, rtol=1e-12, atol=1e-15)

    stream = stream_of(np.fromfile(next((tmp_path / "run" / "units").glob("dev-*.units")), "<u2"))
    for chunk in (1, 2, 1000):
        assert mean_loss(model, Chunks(stream, 2, chunk)) == pytest.approx(
            mean_loss(model, Chunks(stream, 2, 4)), rel=1e-12
        )


def test_a_processor_without_bfloat16_trains_in_float32(corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("asr.training.run._has_bfloat16", lambda: False)
    options = ["--trainer.max_epochs=1", "--trainer.accelerator=cpu"]
    train(corpus, tmp_path / "float32", *options)
    train(corpus, tmp_path / "mixed", *options, "--trainer.precision=bf16-mixed")
    expected = (
        "trainer.precision is bf16-mixed, which this processor does not have: 32-true is used"
    )
    assert capsys.readouterr().err.count(expected) == 1
    weights = [
        (tmp_path / run / "weights.safetensors").read_bytes() for run in ("float32", "mixed")
    ]
    assert weights[0] == weights[1]


# an epoch has 4 steps
@pytest.mark.parametrize(
    ("step", "hook", "options"),
    [
        (1, "training_step", []),
        (5, "training_step", ["--trainer.precision=bf16-mixed"]),
        (3, "training_step", []),
        (6, "training_step", ["--trainer.val_check_interval=2"]),
        (8, "validation_step", []),
    ],
    ids=["first epoch", "second epoch", "last step of an epoch", "two validations", "validation"],
)
def test_a_resumed_run_equals_an_uninterrupted_one(
    corpus, tmp_path, monkeypatch, capsys, steps, step, hook, options
):
    options = [*DROPOUT, *options]
    train(corpus, tmp_path / "straight", *options)
    straight = list(steps)
    assert len(straight) == 12
    steps.clear()
    with monkeypatch.context() as patched:
        signal_at(patched, LMTraining, step, hook)
        with pytest.raises(SystemExit):
            train(corpus, tmp_path / "stopped", *options)
    taken = step + (hook == "training_step")
    assert f"stopped after step {taken} of 12;" in capsys.readouterr().err

    monkeypatch.setattr(Vocabulary, "from_texts", None)  # the units are there already
    train(corpus, tmp_path / "stopped", *options)
    for (chunk, before), (other, other_before) in zip(straight, steps, strict=True):
        for one, same in zip(chunk, other, strict=True):
            assert torch.equal(torch.as_tensor(one), torch.as_tensor(same))
        assert (before is None) == (other_before is None)
        if before is not None:
            assert torch.equal(before, other_before)
    torch.testing.assert_close(
        weights(tmp_path / "straight"), weights(tmp_path / "stopped"), rtol=0, atol=0
    )
    assert trained_on(tmp_path / "straight") == trained_on(tmp_path / "stopped")


def test_the_seed_determines_the_weights(corpus, tmp_path):
    for run, seed in (("one", 1), ("again", 1), ("other", 2)):
        train(corpus, tmp_path / run, f"--seed={seed}", "--trainer.max_epochs=1", *DROPOUT)
    one, again, other = (weights(tmp_path / run) for run in ("one", "again", "other"))
    torch.testing.assert_close(one, again, rtol=0, atol=0)
    assert not torch.equal(one["output.weight"], other["output.weight"])


def test_a_repeated_sequence_is_learned(corpus, tmp_path):
    for part in ("train", "dev"):
        (tmp_path / f"{part}.txt").write_text("a b c d\n" * 60)
    options = ["--data.rows=4", "--data.chunk=10", "--optim.lr=0.05", "--trainer.max_epochs=6"]
    train(corpus, tmp_path / "run", *options, "--trainer.log_every_n_steps=50")
    assert 1 <= trained_on(tmp_path / "run")["dev_perplexity"] < 1.02


def test_perplexity_is_near_the_entropy_rate_of_a_markov_chain(corpus, tmp_path):
    """The chain has states a, b, c and end of sentence; its entropy rate has a closed form."""
    chain = np.array([[0.0, 0.8, 0.1, 0.1], [0.1, 0.1, 0.8, 0.0], [0.7, 0.1, 0.0, 0.2]])
    chain = np.vstack([chain, [0.9, 0.05, 0.05, 0.0]])  # after the end
    values, vectors = np.linalg.eig(chain.T)
    stationary = np.real(vectors[:, np.argmax(np.real(values))])
    stationary /= stationary.sum()
    log_probs = np.log(chain, out=np.zeros_like(chain), where=chain > 0)
    entropy_rate = -(stationary[:, None] * chain * log_probs).sum()

    generator = np.random.default_rng(5)
    seen = {}
    for part, n_units in (("train", 12_000), ("dev", 8000)):
        states = [3]
        while len(states) <= n_units or states[-1] != 3:
            states.append(int(generator.choice(4, p=chain[states[-1]])))
        seen[part] = states
        text = "".join("abc\n"[state] + " " for state in states[1:])
        (tmp_path / f"{part}.txt").write_text(text)
    dev = np.array(seen["dev"])
    best = -log_probs[dev[:-1], dev[1:]].mean()  # loss of the chain itself on the dev set
    assert best == pytest.approx(entropy_rate, rel=0.03)

    options = ["--data.rows=40", "--data.chunk=20", "--optim.lr=0.05", "--trainer.max_epochs=6"]
    train(corpus, tmp_path / "run", *options, "--trainer.log_every_n_steps=50")
    loss = math.log(trained_on(tmp_path / "run")["dev_perplexity"])
    assert best - 0.005 < loss < best + 0.02


def test_a_model_records_its_training(corpus, tmp_path):
    train(corpus, tmp_path / "run", "--data.unit=char", "--trainer.max_epochs=2")
    found = trained_on(tmp_path / "run")
    n_characters = len((tmp_path / "train.txt").read_text())  # with the ends of sentences
    assert (found["sentences"], found["units"], found["unknown"]) == (15, n_characters, 0)
    assert (found["epochs"], found["seed"], found["dev_unknown"]) == (2, 1, 0)
    assert found["dev_bits"] == pytest.approx(math.log2(found["dev_perplexity"]))
    assert measures(math.log(8), "word") == {"perplexity": pytest.approx(8)}
    # the perplexities are those of the saved model, whose weights are averaged
    model = load_language_model(tmp_path / "run")
    stream = stream_of(np.fromfile(next((tmp_path / "run" / "units").glob("dev-*.units")), "<u2"))
    loss = mean_loss(model, Chunks(stream, 3, 5))
    assert math.exp(loss) == pytest.approx(found["dev_perplexity"], rel=1e-6)
    dev = [
        model.vocabulary.encode(line) for line in (tmp_path / "dev.txt").read_text().splitlines()
    ]
    scores = np.concatenate(model.sentence_log_probs(dev))
    assert math.exp(-scores.mean()) == pytest.approx(found["dev_perplexity_alone"], rel=1e-6)


def test_a_gradient_that_is_not_finite_skips_the_step(corpus, tmp_path, monkeypatch, capsys):
    original = LMTraining.training_step
    seen = []

    def step(self, batch, batch_idx):
        before = {name: value.clone() for name, value in self.state_dict().items()}
        seen.append((before, self._state))
        loss = original(self, batch, batch_idx)
        if self.trainer.global_step == 1:
            self._state = self._state * torch.nan
            loss = loss * torch.nan
        return loss

    monkeypatch.setattr(LMTraining, "training_step", step)
    train(corpus, tmp_path / "run", "--trainer.max_epochs=1")
    lines = [line for line in capsys.readouterr().err.splitlines() if "epoch 1" not in line]
    assert lines == ["step 2 not taken: the gradient is not finite; all rows begin anew"]
    torch.testing.assert_close(seen[1][0], seen[2][0], rtol=0, atol=0)
    assert seen[2][1] is None
    assert not torch.equal(seen[2][0]["model.output.weight"], seen[3][0]["model.output.weight"])
    assert math.isfinite(trained_on(tmp_path / "run")["dev_perplexity"])


def test_sgd_has_no_momentum(corpus, tmp_path, monkeypatch):
    found = []

    def keep(self, optimizer):
        found.append((self.model.output.bias.detach().clone(), self.model.output.bias.grad.clone()))

    monkeypatch.setattr(LMTraining, "on_before_optimizer_step", keep, raising=False)
    options = ["--optim.algorithm=sgd", "--optim.lr=0.5", "--optim.warmup=0"]
    train(corpus, tmp_path / "run", *options, "--trainer.max_epochs=1", "--data.chunk=10")
    (before, gradient), (after, _) = found
    torch.testing.assert_close(after, before - 0.5 * gradient)


def test_a_finished_run_is_not_changed(corpus, tmp_path, capsys):
    train(corpus, tmp_path / "run", "--trainer.max_epochs=1")
    before = weights(tmp_path / "run")
    capsys.readouterr()
    train(corpus, tmp_path / "run", "--trainer.max_epochs=1")
    line = f"{tmp_path / 'run'}: is trained already, with these settings\n"
    assert capsys.readouterr().err == line
    torch.testing.assert_close(weights(tmp_path / "run"), before, rtol=0, atol=0)
    (tmp_path / "train.txt").write_text("a b\n" * 20)
    with pytest.raises(InputError, match=r"run: holds a run on other data \(train differs\)"):
        train(corpus, tmp_path / "run", "--trainer.max_epochs=1")


def test_word_pieces_are_learned(corpus, tmp_path):
    (tmp_path / "train.txt").write_text("low lower lowest\nnew newer newest\n" * 5)
    (tmp_path / "dev.txt").write_text("lower newest\n")
    train(corpus, tmp_path / "run", "--data.unit=bpe", "--data.max_size=16")
    model = load_language_model(tmp_path / "run")
    assert model.vocabulary.unit == "bpe"
    assert len(model.vocabulary.symbols) == 16


def test_encoded_files_depend_on_the_unit(corpus, tmp_path):
    """A run without a checkpoint may start again with other settings."""
    sizes = []
    for unit in ("word", "char"):
        loaded = LMData(LMSettings(data=LMDataSettings(**names_of(tmp_path), unit=unit)))
        loaded.encode(tmp_path / "units")
        sizes.append(len(loaded.train))
    assert sizes[0] < sizes[1]


# refusals


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--data.rows=61", r"train.txt: has 60 units; expected .*: lower data.rows \(61\)"),
        ("--data.chunk=0", "data.chunk is 0; expected 1 or more"),
        ("--data.rows=0", "data.rows is 0; expected 1 or more"),
        ("--data.restart=1.5", "data.restart is 1.5; expected from 0 to 1"),
        ("--data.max_size=2", "data.max_size is 2; expected 3 or more"),
        ("--data.min_count=100", r"min_count is 100; .* comes \d+ times; expected \d+ or less"),
        ("--trainer.max_epochs=-1", "trainer.max_epochs is -1; expected 1 or more"),
        ("--seed=-1", "seed is -1; expected from 0"),
    ],
)
def test_impossible_settings_are_refused(corpus, tmp_path, capsys, option, line):
    with pytest.raises((InputError, SystemExit)) as refused:
        train(corpus, tmp_path / "run", option)
    text = str(refused.value) + capsys.readouterr().err
    assert re.search(line, text), text


def test_unusable_corpora_are_named(corpus, tmp_path):
    (tmp_path / "dev.txt").write_text("x y\nz\n")
    with pytest.raises(InputError, match=r"dev.txt: has no unit of the vocabulary"):
        train(corpus, tmp_path / "run")
    (tmp_path / "dev.txt").write_text("a x\n")
    (tmp_path / "train.txt").write_text("\n\n")
    with pytest.raises(InputError, match=r"train.txt: has no sentence"):
        train(corpus, tmp_path / "other")


def test_rows_must_be_a_multiple_of_the_processes(corpus, tmp_path):
    data = LMData(LMSettings(data=LMDataSettings(**names_of(tmp_path), rows=3)))
    data.encode(tmp_path / "units")
    data.trainer = SimpleNamespace(world_size=2, global_rank=0)
    with pytest.raises(InputError, match=r"data.rows is 3; expected a multiple of the 2 processes"):
        data.train_dataloader()


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("conf/*/lm*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_the_settings_of_every_corpus_are_valid(path):
    parser = settings_parser("train_lm", LMSettings)
    add_trainer_options(parser)
    check_file(parser, path)


def test_the_model_has_its_settings(corpus, tmp_path):
    train(corpus, tmp_path / "run", "--model.cell=gru", "--model.n_layers=2", *DROPOUT)
    model = load_language_model(tmp_path / "run")
    assert isinstance(model, RNNLM)
    expected = RNNLMSettings(
        cell="gru",
        embedding_size=6,
        hidden_size=8,
        n_layers=2,
        dropout_input=0.2,
        dropout_output=0.3,
        weight_drop=0.2,
        variational=True,
    )
    assert model.settings == expected
