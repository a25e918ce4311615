"""Time of the recurrent stack compared with torch's own modules, as ratios in one run.

- stack: `RecurrentStack`, bidirectional, compared with `nn.LSTM` on packed sequences: at most 0.6
  of its time on a CPU, in training (forward and backward) and in inference.
- peephole: `PeepholeLSTM` compared with `nn.LSTM`, one layer of one direction on padded sequences:
  at most 2.0 times its time on a CPU, and 2.5 times on a GPU.

The stack reads batches with the lengths of AN4's training utterances, as its settings make them, in
the network of conf/an4/ctc.yaml. The peephole LSTM reads padded sequences of several sizes. Both
sides run in turn on the same inputs, so that a slower machine slows both down; the median counts.

Run: python tests/benchmarks/recurrent_speed.py [--device cpu|cuda] [--rounds 5] [--threads N]
On a CPU, AN4 must be prepared: python data/an4/prepare.py
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from asr.corpus.batching import batches_by_length
from asr.corpus.manifest import read_manifest
from asr.errors import reported
from asr.evaluation.provenance import machine
from asr.networks.peephole import PeepholeLSTM
from asr.networks.recurrent import RecurrentStack, StackSettings

ROOT = Path(__file__).resolve().parent.parent.parent
STACK_BAR = 0.6
PEEPHOLE_BARS = {"cpu": 2.0, "cuda": 2.5}
INPUT_SIZE, HIDDEN_SIZE, N_LAYERS = 640, 256, 3
FRAMES_PER_S, BATCH_S = 100 / 3, 60
SIZES = {  # hidden units, sequences, frames
    "cpu": [(192, 32, 100), (256, 16, 150), (320, 16, 300)],
    "cuda": [(320, 16, 300), (320, 64, 1000), (512, 16, 1000), (512, 64, 300)],
}


class PackedLSTM(nn.Module):
    """`nn.LSTM` on packed sequences."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(INPUT_SIZE, HIDDEN_SIZE, N_LAYERS, bidirectional=True)

    def forward(self, inputs, lengths):
        packed = pack_padded_sequence(inputs, lengths.cpu(), enforce_sorted=False)
        return self.lstm(packed)[0].data


class Outputs(nn.Module):
    """The first of a module's results."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, *inputs):
        return self.module(*inputs)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(machine(options.device))
    missed = []

    def row(name, ratio, bar):
        print(f"{name:<44}{ratio:>6.2f}  bar {bar}{'' if ratio <= bar else '  MISSED'}", flush=True)
        if ratio > bar:
            missed.append(name)

    if options.device == "cpu":
        batches = [_batch(lengths) for lengths in _lengths()]
        settings = StackSettings("lstm", HIDDEN_SIZE, N_LAYERS)
        stack, packed = Outputs(RecurrentStack(INPUT_SIZE, settings)), PackedLSTM()
        for trains in (True, False):
            ratio = _ratio(stack, packed, batches, trains, options.rounds)
            row(f"stack, {_purpose(trains)}: of nn.LSTM, packed", ratio, STACK_BAR)
    for name, ratio in peephole_ratios(options.device, options.rounds):
        row(f"{name}: of nn.LSTM", ratio, PEEPHOLE_BARS[options.device])
    sys.exit(f"missed: {', '.join(missed)}" if missed else 0)


def peephole_ratios(device, rounds=5):
    """Yield the name of each measurement of `PeepholeLSTM`, and its time over that of nn.LSTM."""
    for hidden_size, N, T in SIZES[device]:
        inputs = [(torch.randn(T, N, hidden_size, device=device),)]
        ours = Outputs(PeepholeLSTM(hidden_size, hidden_size)).to(device)
        theirs = Outputs(nn.LSTM(hidden_size, hidden_size)).to(device)
        for trains in (True, False):
            ratio = _ratio(ours, theirs, inputs, trains, rounds)
            yield f"peephole, H {hidden_size}, N {N}, T {T}, {_purpose(trains)}", ratio


def _purpose(trains):
    return "training" if trains else "inference"


def _lengths():
    """The lengths of some batches of AN4, in frames of the network."""
    utterances = read_manifest(ROOT / "data/an4/train.jsonl")
    frames = [round(utterance.duration * FRAMES_PER_S) for utterance in utterances]
    batches = batches_by_length(frames, round(BATCH_S * FRAMES_PER_S))
    step = max(1, len(batches) // 8)
    return [[frames[n] for n in batch] for batch in batches[::step]]


def _batch(lengths):
    return torch.randn(max(lengths), len(lengths), INPUT_SIZE), torch.tensor(lengths)


def _ratio(ours, theirs, batches, trains, rounds):
    """The median ratio of the times for all batches, after one round that is not counted."""
    ratios = []
    for number in range(rounds + 1):
        taken = [_seconds(module, batches, trains) for module in (ours, theirs)]
        if number:
            ratios.append(taken[0] / taken[1])
    return statistics.median(ratios)


def _seconds(module, batches, trains):
    _wait(batches)
    since = time.perf_counter()
    with torch.set_grad_enabled(trains):
        for batch in batches:
            outputs = module(*batch)
            if trains:
                outputs.sum().backward()
                module.zero_grad()
    _wait(batches)
    return time.perf_counter() - since


def _wait(batches):
    if batches[0][0].is_cuda:
        torch.cuda.synchronize()


if __name__ == "__main__":
    with reported("recurrent_speed"):
        main()
