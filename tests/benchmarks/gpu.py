"""Compare a GPU with the CPU: tests, numerical agreement, AN4's word error rate and speed.

The results are a table. Each part adds its rows as soon as it is done, so an interrupted run keeps
those of the earlier parts:

- tests: those that are skipped without a GPU.
- agreement: log-probabilities, losses, gradients and EM statistics of an HMM, in float32 on the
  device compared with float64 on the CPU. TF32 is off.
- AN4: prepare, train `conf/an4/ctc-mfcc.yaml` with seed 1, train the trigram, evaluate.
- training step: forward and backward pass of the acoustic model with its CTC loss; the share of the
  loss, which runs on the CPU; the recurrent layers compared with torch's bidirectional LSTM; the
  peephole LSTM compared with torch's LSTM.
- transcription: seconds of audio per second, with greedy search.

Run: bash tests/benchmarks/gpu.sh [--device cpu] [--epochs N] [--data-root DIR] [--out DIR]
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from recurrent_speed import PEEPHOLE_BARS, peephole_ratios

from asr.corpus.manifest import read_manifest
from asr.errors import InputError, reported
from asr.evaluation.log_probs import recognise_manifest
from asr.evaluation.provenance import commit, machine
from asr.hmm.gmm import Gmm
from asr.hmm.gmm import statistics as gmm_statistics
from asr.hmm.graph import pad_graphs, utterance_graph
from asr.hmm.paths import forward_backward
from asr.hmm.topology import left_to_right
from asr.networks.acoustic import AcousticModel, AcousticSettings
from asr.networks.ctc import ctc_loss
from asr.recognizer import load

ROOT = Path(__file__).resolve().parent.parent.parent
F, C = 39, 28
SETTINGS = AcousticSettings(hidden_size=192)  # of conf/an4/ctc-mfcc.yaml


class Table:
    """A table of results; each row is printed and written at once."""

    def __init__(self, path, heading):
        self.path = path
        self.lines = [heading, "", "| what | figure | |", "|---|---:|---|"]
        print("\n".join(self.lines), flush=True)

    def add(self, what, figure, note=""):
        """Add a row."""
        self.lines.append(f"| {what} | {figure} | {note} |")
        print(self.lines[-1], flush=True)
        self.path.write_text("\n".join(self.lines) + "\n", "utf-8")


def heading(device):
    """GPU, driver, versions and commit."""
    parts = [machine(device)]
    if device == "cuda":
        query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        found = subprocess.run(query, capture_output=True, text=True)
        parts.append(f"driver {found.stdout.strip() or 'unknown'}")
        parts.append(f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}")
    return ", ".join([*parts, f"commit {commit() or 'unknown'}"])


def run_tests(table):
    """Run the tests that need a GPU."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-o", "addopts=--import-mode=importlib"]
    ended = subprocess.run([*command, "-q"], cwd=ROOT, capture_output=True, text=True)
    summary = re.findall(r"\d+ (?:passed|failed|skipped|deselected|errors?)", ended.stdout)
    table.add("tests that need a GPU", ", ".join(summary) or "none ran", f"exit {ended.returncode}")
    if ended.returncode:
        print(ended.stdout[-3000:], file=sys.stderr)


def batch(N, T, U, seed=0, dtype=torch.float32):
    """Random features and targets with their lengths."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(T, N, F, generator=generator, dtype=torch.float64).to(dtype)
    input_lengths = torch.linspace(T // 2, T, N).long()
    targets = torch.randint(1, C, (N, U), generator=generator)
    target_lengths = torch.linspace(U // 2, U, N).long()
    return features, input_lengths, targets, target_lengths


def losses_of(model, features, input_lengths, targets, target_lengths, device):
    """(log_probs, losses, gradient) of a model on a device, as float64 on the CPU."""
    model = model.to(device)
    model.zero_grad()
    log_probs, lengths = model(features.to(device), input_lengths.to(device))
    losses = ctc_loss(log_probs, targets, lengths, target_lengths)
    losses.sum().backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    return [part.detach().cpu().double() for part in (log_probs, losses, gradient)]


def relative_error(found, expected):
    """The largest difference, as a share of the largest value."""
    return ((found - expected).abs().max() / expected.abs().max()).item()


def measure_agreement(table, device):
    """Measure the differences from float64 on the CPU."""
    torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(0)
    model = AcousticModel(F, C, SETTINGS).eval()
    given = batch(N=8, T=300, U=20)
    single = losses_of(model, *given, device)
    given = given[0].double(), *given[1:]
    double = losses_of(model.double(), *given, "cpu")
    for name, found, expected in zip(
        ("log-probabilities", "losses", "gradient"), single, double, strict=True
    ):
        error = f"{relative_error(found, expected):.1e}"
        table.add(f"{name}, off from float64", error, "of the largest")

    hmm = left_to_right(6, 3, 2)
    generator = torch.Generator().manual_seed(1)
    S = len(hmm.self_loops)
    parts = torch.randn(2, S, 4, F, generator=generator, dtype=torch.float64)
    gmm = Gmm(torch.full((S, 4), -1.386294361, dtype=torch.float64), parts[0], 1 + parts[1] ** 2)
    graphs = pad_graphs([utterance_graph([[(1, 2, 3)], [(4, 5)]], hmm)] * 8)
    frames = torch.randn(80, 8, F, generator=generator, dtype=torch.float64)
    lengths = torch.linspace(40, 80, 8).long()
    expected = em_statistics(gmm, frames, lengths, graphs, hmm, "cpu")
    found = em_statistics(gmm, frames.float(), lengths, graphs, hmm, device)
    for name, one, other in zip(
        ("log-likelihoods", "occupancies", "first moments"), found, expected, strict=True
    ):
        error = f"{relative_error(one, other):.1e}"
        table.add(f"HMM's {name}, off from float64", error, "of the largest")


def em_statistics(gmm, frames, lengths, graphs, hmm, device):
    """The EM statistics of a batch, as float64 on the CPU."""
    gmm = gmm.to(device)
    if frames.dtype == torch.float32:
        gmm = Gmm(gmm.log_weights.float(), gmm.means.float(), gmm.variances.float())
    frames = frames.to(device)
    found = forward_backward(
        gmm.emissions(frames), lengths.to(device), graphs.to(device), hmm.self_loops.to(device)
    )
    counted = gmm_statistics(gmm, frames.flatten(0, 1), found.occupancies.flatten(0, 1))
    parts = found.log_likelihoods, counted.counts, counted.sums
    return [part.cpu().double() for part in parts]


def timed(function, device, rounds=7):
    """Median seconds of a call, including the device's work; the first calls are not counted."""
    seconds = []
    for _ in range(rounds + 2):
        wait(device)
        started = time.perf_counter()
        function()
        wait(device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[2:])


def wait(device):
    """Wait until the device has finished its work."""
    if device == "cuda":
        torch.cuda.synchronize()


def measure_step(table, device):
    """Time a training step, its loss, and the recurrent layers compared with torch's."""
    N, T = (50, 300) if device == "cuda" else (12, 300)
    features, input_lengths, targets, target_lengths = batch(N, T, U=30)
    features, input_lengths = features.to(device), input_lengths.to(device)
    model = AcousticModel(F, C, SETTINGS).to(device)

    def step():
        model.zero_grad()
        log_probs, lengths = model(features, input_lengths)
        (ctc_loss(log_probs, targets, lengths, target_lengths).sum() / 1000).backward()

    log_probs, lengths = model(features, input_lengths)
    given = log_probs.detach().requires_grad_()

    def loss():
        ctc_loss(given, targets, lengths, target_lengths).sum().backward()

    step_s, loss_s = timed(step, device), timed(loss, device)
    table.add("training step", f"{1000 * step_s:.1f} ms", f"{N} utterances of {T / 100:.0f} s")
    table.add("of it the CTC loss, on the CPU", f"{loss_s / step_s:.0%}", f"{1000 * loss_s:.1f} ms")

    stack = model.stack
    size = stack.forwards[0].input_size
    plain = torch.nn.LSTM(size, SETTINGS.hidden_size, SETTINGS.n_layers, bidirectional=True).to(
        device
    )
    inputs = torch.randn(int(lengths.max()), N, size, device=device)
    packed = torch.nn.utils.rnn.pack_padded_sequence(inputs, lengths.cpu(), enforce_sorted=False)
    ours_s = timed(lambda: stack(inputs, lengths).sum().backward(), device)
    packed_s = timed(lambda: plain(packed)[0].data.sum().backward(), device)
    padded_s = timed(lambda: plain(inputs)[0].sum().backward(), device)
    name = "cuDNN's" if device == "cuda" else "torch's"
    note = f"{1000 * ours_s:.1f}, packed {1000 * packed_s:.1f}, padded {1000 * padded_s:.1f} ms"
    table.add(f"recurrent layers beside {name}, packed", f"{ours_s / packed_s:.2f} times", note)
    for what, ratio in peephole_ratios(device):
        bar = PEEPHOLE_BARS[device]
        note = f"at most {bar}{'' if ratio <= bar else ': MISSED'}"
        table.add(f"{what}, beside {name} LSTM", f"{ratio:.2f} times", note)


def measure_an4(table, device, epochs, data_root, out):
    """Train and evaluate on AN4; return the model's folder and the test manifest."""
    prepared = out / "data"
    root = ["--data-root", str(data_root)] if data_root else []
    run("data/an4/prepare.py", *root, "--out", prepared)
    started = time.perf_counter()
    model = out / "ctc-mfcc"
    data = [f"--data.{part}={prepared / part}.jsonl" for part in ("train", "dev")]
    options = ["--trainer.accelerator", "gpu" if device == "cuda" else "cpu"]
    if epochs:
        n_averaged = min(10, epochs)
        options += ["--trainer.max_epochs", epochs, "--averaging.n_epochs", n_averaged]
    config = ["--config", "conf/an4/ctc-mfcc.yaml"]
    run("recipes/train_ctc.py", *config, "--out", model, "--seed", 1, *data, *options)
    minutes = (time.perf_counter() - started) / 60
    table.add("AN4, training", f"{minutes:.1f} minutes", f"{epochs or 90} epochs, bf16-mixed")
    config = ["--config", "conf/an4/ngram.yaml"]
    run("recipes/train_ngram.py", *config, f"--data.train={prepared / 'train.jsonl'}",
        "--out", out / "ngram")  # fmt: skip
    test = prepared / "test.jsonl"
    words = ["--decoder", "beam", "--lexicon", prepared / "lexicon.dic", "--lm", out / "ngram"]
    tuned = ["--tune", prepared / "dev.jsonl", "--device", device]
    run("recipes/evaluate.py", "--model", model, "--manifest", test, *words, *tuned)
    results = json.loads((model / "test" / "results.json").read_text("utf-8"))
    for system in results["systems"]:
        note = f"{100 * system['wer_low']:.2f} to {100 * system['wer_high']:.2f}"
        table.add(f"AN4, WER, {system['name']}", f"{100 * system['wer']:.2f} %", note)
    minutes = (time.perf_counter() - started) / 60
    table.add("AN4, from audio to WER", f"{minutes:.1f} minutes", "")
    return model, test


def run(script, *options):
    """Run a script of the repository; its output goes to stderr."""
    command = [sys.executable, ROOT / script, *options]
    ended = subprocess.run([str(word) for word in command], cwd=ROOT, stdout=sys.stderr)
    if ended.returncode:
        raise InputError(f"{script}: ended with {ended.returncode}; expected 0")


def measure_transcription(table, device, model, test):
    """Measure the seconds of audio that are recognised per second."""
    utterances = read_manifest(test)
    recognizer = load(model, device, decoder="greedy")
    recognise_manifest(recognizer, utterances[:20])
    found = recognise_manifest(recognizer, utterances)
    note = f"{found.audio_s:.0f} s of AN4's test set, reading the files included"
    table.add("transcription", f"{found.audio_s / found.seconds:.0f} times real time", note)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--epochs", type=int, help="epochs on AN4; default 90, on the CPU 2")
    parser.add_argument("--data-root", type=Path, help="folder with AN4; default $ASR_DATA")
    parser.add_argument("--out", type=Path, default=ROOT / "exp" / "gpu", help="%(default)s")
    options = parser.parse_args()
    with reported("gpu"):
        if options.device == "cuda" and not torch.cuda.is_available():
            raise InputError("there is no GPU that torch can use; expected one, or --device cpu")
        epochs = options.epochs or (2 if options.device == "cpu" else None)
        options.out.mkdir(parents=True, exist_ok=True)
        table = Table(options.out / "table.md", heading(options.device))
        measure_agreement(table, options.device)
        measure_step(table, options.device)
        run_tests(table)
        if options.data_root or "ASR_DATA" in os.environ:
            out = options.out.resolve()
            model, test = measure_an4(table, options.device, epochs, options.data_root, out)
            measure_transcription(table, options.device, model, test)
        else:
            table.add("AN4", "left out", "--data-root says where it lies")


if __name__ == "__main__":
    main()
