"""Compare monophone HMMs trained by us and by Kaldi: held-out log-likelihood, at most 1 % lower.

Both have a flat start and the same features, phones, pronunciations (each of weight 1), states in a
row without skips, probabilities of staying (0.5 at first), optional silence before, between and
after words (0.5), number of passes, number of Gaussians after each pass, shares of states in them
(occupancy to the power of 0.2, 20 frames per Gaussian), minimum occupancies (10 frames) and
variance floor. Kaldi's recipes give silence five states and skips; here it has our topology. Kaldi
aligns again in every pass, with a beam of 200 nats, and with unscaled acoustics and self-loops. The
remaining differences are:

- ours counts a frame for all paths (Baum-Welch), Kaldi for the best path (Viterbi);
- ours starts with all paths through states that are equal except silence, which has the quietest
  tenth of each utterance's frames; Kaldi starts with a random path of about equal stays;
- ours moves the halves of a Gaussian by 0.2 standard deviations to either side in all dimensions,
  Kaldi by 0.01 times a normal random number of them; this can't be seeded, so two runs of Kaldi
  always differ;
- ours gives a state at most `model.max_components` Gaussians, Kaldi has no such limit;
- ours has a variance floor for each dimension, Kaldi one for all; with these features they are
  equal.

The held-out data are AN4's development set with its texts. The features are MFCCs with two orders
of deltas, 39 values, each with mean 0 and variance 1 over an utterance. Another scale would add a
constant to all log-likelihoods. This would change percentages, but neither the difference in nats
nor the gain over one Gaussian for all frames, which is shown too. Both programs score both models
and must agree: ours sums over all paths and finds the best one, Kaldi finds the best one. Times are
CPU seconds of the passes on one thread, without features and graphs.

Run: python tests/benchmarks/hmm_against_kaldi.py [--config conf/an4/hmm.yaml]
AN4 must be prepared; needs kaldi-hmm-gmm and kaldifst, the extra [kaldi].
"""

import argparse
import logging
import math
import sys
import time
import warnings
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch

try:
    import kaldi_hmm_gmm as khg
    import kaldifst
except ImportError:
    khg = None  # main prints an error

from asr.config import from_dict, read_yaml
from asr.errors import InputError, reported
from asr.evaluation.provenance import machine
from asr.hmm.gmm import Gmm, flat_start, variance_floor
from asr.hmm.paths import log_likelihoods, viterbi
from asr.training.hmm import HmmTraining, trained_parts
from asr.training.hmm_data import HmmData
from asr.training.hmm_settings import HmmSettings

BAR = 0.01  # of the log-likelihood
AGREEMENT = 1e-4  # nats a frame
BEAM, WIDE = 200.0, 1e4  # nats, for training and for scoring, which must find the best path


class Kaldi(NamedTuple):
    """A Kaldi model with our numbers of pdfs; transition 2 p + 1 stays in p, 2 p + 2 leaves it."""

    mixtures: "khg.AmDiagGmm"
    transitions: "khg.TransitionModel"
    tree: "khg.ContextDependency"


def in_kaldi(gmm, topology):
    """Convert our model to Kaldi; silence is the last phone."""
    (silence, n_states), n_silent = topology.pdfs.shape, len(topology.silence)
    entries = topology_entry(range(1, silence), n_states), topology_entry([silence], n_silent)
    parsed = khg.HmmTopology()
    parsed.read(f"<Topology> {' '.join(entries)} </Topology>")
    tree = khg.monophone_context_dependency(parsed.phones, parsed.get_phone_to_num_pdf_classes())
    transitions = khg.TransitionModel(tree, parsed)
    pdfs = [transitions.transition_id_to_pdf(n + 1) for n in range(transitions.num_transition_ids)]
    assert pdfs == [n // 2 for n in range(2 * len(topology.self_loops))]
    stay = topology.self_loops.exp().numpy()
    moves = np.stack([stay, 1 - stay], 1).flatten()
    update = khg.MleTransitionUpdateConfig(floor=0.0, mincount=0.0)
    transitions.mle_update(np.insert(moves, 0, 0.0), update)

    mixtures, there = khg.AmDiagGmm(), gmm.log_weights > -math.inf
    for parts in zip(gmm.log_weights.exp(), gmm.means, gmm.variances, there, strict=True):
        weights, means, variances = (part[parts[3]].float().numpy() for part in parts[:3])
        state = khg.DiagGmm(*means.shape)
        state.set_weights(weights)
        state.set_invvars_and_means(1 / variances, means)
        state.compute_gconsts()
        mixtures.add_pdf(state)
    return Kaldi(mixtures, transitions, tree)


def topology_entry(phones, n_states):
    """States in a row, in Kaldi's format."""
    states = "".join(
        f"<State> {n} <PdfClass> {n} <Transition> {n} 0.5 <Transition> {n + 1} 0.5 </State> "
        for n in range(n_states)
    )
    names, end = " ".join(map(str, phones)), f"<State> {n_states} </State> </TopologyEntry>"
    return f"<TopologyEntry> <ForPhones> {names} </ForPhones> {states} {end}"


def from_kaldi(kaldi, topology):
    """Convert a Kaldi model to our mixtures and topology."""
    states = [kaldi.mixtures.get_pdf(pdf) for pdf in range(kaldi.mixtures.num_pdfs)]
    shape = len(states), max(state.num_gauss for state in states), kaldi.mixtures.dim
    log_weights = torch.full(shape[:2], -math.inf)
    means, variances = torch.zeros(shape), torch.ones(shape)
    for s, state in enumerate(states):
        part = s, slice(state.num_gauss)
        log_weights[part] = torch.from_numpy(state.weights).log()
        means[part], variances[part] = torch.from_numpy(state.means), torch.from_numpy(state.vars)
    self_loops = torch.tensor(kaldi.transitions.log_probs, dtype=torch.float64)[1::2]
    return Gmm(log_weights, means, variances), replace(topology, self_loops=self_loops)


def make_graphs(kaldi, data, utterances):
    """Kaldi's graph of each utterance, without transition probabilities."""
    words = sorted({word for utterance in utterances for word in utterance.text.split()})
    numbers = {word: number for number, word in enumerate(words, 1)}
    lexicon = lexicon_fst(map(data.tokenizer.pronunciations, words), len(data.topology.pdfs))
    options = khg.TrainingGraphCompilerOptions(transition_scale=0.0, self_loop_scale=0.0)
    compiler = khg.TrainingGraphCompiler(kaldi.transitions, kaldi.tree, lexicon, [], options)
    return {
        utterance.id: compiler.compile_graph_from_text([numbers[w] for w in utterance.text.split()])
        for utterance in utterances
    }


def lexicon_fst(pronunciations, silence):
    """FST from phones to words (numbered from 1), with optional silence around all words."""
    fst, half = kaldifst.StdVectorFst(), math.log(2)
    start, between, silent = (fst.add_state() for _ in range(3))
    fst.start = start
    fst.set_final(between, 0.0)
    fst.add_arc(silent, kaldifst.StdArc(silence, 0, 0.0, between))
    for target in (between, silent):
        fst.add_arc(start, kaldifst.StdArc(0, 0, half, target))
    for word, of_word in enumerate(pronunciations, 1):
        for phones in of_word:
            state, label = between, word
            for phone in phones[:-1]:
                target = fst.add_state()
                fst.add_arc(state, kaldifst.StdArc(phone, label, 0.0, target))
                state, label = target, 0
            for target in (between, silent):
                fst.add_arc(state, kaldifst.StdArc(phones[-1], label, half, target))
    return fst


def align(kaldi, graph, features, beam):
    """The log-likelihood and the transitions (T,) of the best path."""
    graph = graph.copy()
    khg.add_transition_probs(kaldi.transitions, [], 1.0, 1.0, graph)  # unscaled
    frames = khg.DecodableAmDiagGmmScaled(kaldi.mixtures, kaldi.transitions, features, 1.0)
    given = khg.AlignConfig(beam=beam), "", 1.0, graph, frames, 0, 0, 0, 0.0, 0
    done, _, _, log_prob, _, transitions, _ = khg.align_utterance_wrapper(*given)
    if not done:
        raise InputError(f"Kaldi finds no path of {len(features)} frames in a beam of {beam:g}")
    return log_prob, transitions


def equal_alignment(graph, n_frames, seed):
    """The transitions (T,) of a random path in which all states are about equally long."""
    found, path = kaldifst.equal_align(graph, n_frames, seed, num_retries=100)
    if not found:
        raise InputError(f"Kaldi finds no path of {n_frames} frames; expected longer utterances")
    return kaldifst.get_linear_symbol_sequence(path)[1]


def train_kaldi(kaldi, graphs, utterances, settings, floor, passes):
    """Train and return the seconds; `utterances`: id -> features (T, F)."""
    model, until, S = settings.model, settings.schedule.grow_until, kaldi.mixtures.num_pdfs
    update = khg.MleTransitionUpdateConfig(mincount=model.min_count)
    rules = khg.MleDiagGmmOptions(min_gaussian_occupancy=model.min_count, min_variance=floor)
    flags = int(khg.GmmUpdateFlags.kGmmAll)
    since = time.process_time()
    for number in range(passes):
        counted, moves = khg.AccumAmDiagGmm(), kaldi.transitions.init_stats()
        counted.init(kaldi.mixtures, flags)
        for seed, (id, features) in enumerate(utterances.items()):
            if number:
                _, transitions = align(kaldi, graphs[id], features, BEAM)
            else:
                transitions = equal_alignment(graphs[id], len(features), seed)
            moves += np.bincount(transitions, minlength=len(moves))
            for frame, transition in zip(features, transitions, strict=True):
                counted.accumulate_for_gmm(kaldi.mixtures, frame, (transition - 1) // 2, 1.0)
        kaldi.transitions.mle_update(moves, update)
        khg.mle_am_diag_gmm_update(rules, counted, flags, kaldi.mixtures)
        if number < until:
            total = S + round((model.n_components - S) * (number + 1) / until)
            frames = np.float32([counted.get_acc(pdf).occupancy.sum() for pdf in range(S)])
            kaldi.mixtures.split_by_count(frames, total, 0.01, 0.2, 2 * model.min_count)
    return time.process_time() - since


def train_ours(data, settings, passes):
    """Train and return mixtures, topology and seconds."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    trainer = pl.Trainer(
        max_epochs=passes, accelerator="cpu", limit_val_batches=0, **dict.fromkeys(off, False)
    )
    task = HmmTraining(settings, data.topology, data.tokenizer.symbols)
    since = time.process_time()
    trainer.fit(task, data)
    return *trained_parts(task), time.process_time() - since


def features_by_id(batches):
    """Id -> features (T, F), float32."""
    return {
        id: batch.features[:length, n].numpy().copy()
        for batch in batches
        for n, (id, length) in enumerate(zip(batch.ids, batch.input_lengths, strict=True))
    }


def scores(ours, kaldi, batches, graphs):
    """Log-likelihood in nats per frame: of all paths, the best path, Kaldi's best path."""
    (gmm, topology), totals, frames = ours, np.zeros(3), 0
    for batch in batches:
        given = gmm.emissions(batch.features), batch.input_lengths, batch.graphs
        totals[0] += log_likelihoods(*given, topology.self_loops).sum().item()
        totals[1] += viterbi(*given, topology.self_loops)[0].sum().item()
        for id, features in features_by_id([batch]).items():
            totals[2] += align(kaldi, graphs[id], features, WIDE)[0]
        frames += batch.input_lengths.sum().item()
    return totals / frames


def report(ours, kaldi, one):
    """Print the scores and our gain over Kaldi; return the exit status."""
    above = ours - kaldi
    apart = max(abs(row[1] - row[2]) for row in (ours, kaldi))
    print(f"\n{'held out, nats a frame':24}{'all paths':>11}{'best path':>11}{'by Kaldi':>11}")
    for name, row, form in (
        ("one Gaussian for all", [one] * 3, "11.4f"),
        ("Kaldi", kaldi, "11.4f"),
        ("ours", ours, "11.4f"),
        ("ours above Kaldi", above, "+11.4f"),
        ("  of Kaldi", above / -kaldi, "+11.2%"),
        ("  of ours", above / -ours, "+11.2%"),
        ("  of what Kaldi gains", above / (kaldi - one), "+11.2%"),
    ):
        print(f"{name:24}" + "".join(f"{value:{form}}" for value in row))
    print(f"bar: {-BAR:+.0%} of Kaldi; by both programs, best paths differ by {apart:.0e} nats")
    return 0 if (above >= BAR * kaldi).all() and apart <= AGREEMENT else 1


def compare(config):
    """Train both, print the results and return the exit status."""
    values = read_yaml(config)
    passes = values.pop("trainer", {}).get("max_epochs", 40)  # the default of train_hmm.py
    settings = from_dict(HmmSettings, values, config)
    if settings.data.start or not settings.model.n_silence_states:
        raise InputError(f"{config}: expected an HMM of phones, with silence")
    data = HmmData(settings)
    data.setup("fit")
    *mine, seconds = train_ours(data, settings, passes)
    train, dev = features_by_id(data.train_dataloader()), list(data.val_dataloader())

    flat = flat_start(data.frames(), len(data.topology.self_loops))
    floor = variance_floor(flat.variances[0, 0], settings.model.variance_floor).mean().item()
    theirs = in_kaldi(flat, data.topology)
    graphs = make_graphs(theirs, data, [*data.train, *data.dev])
    kaldi_seconds = train_kaldi(theirs, graphs, train, settings, floor, passes)

    print(f"{len(train)} utterances, {sum(map(len, train.values()))} frames, {passes} passes")
    print(f"{'':24}{'Gaussians':>11}{'seconds':>11}")
    print(f"{'Kaldi':24}{theirs.mixtures.num_gauss:11}{kaldi_seconds:11.1f}")
    print(f"{'ours':24}{mine[0].n_components.sum():11}{seconds:11.1f}")
    frames = torch.cat([torch.from_numpy(own) for own in features_by_id(dev).values()])
    one = flat.emissions(frames)[:, 0].mean().item()
    ours = scores(mine, in_kaldi(*mine), dev, graphs)
    return report(ours, scores(from_kaldi(theirs, mine[1]), theirs, dev, graphs), one)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="conf/an4/hmm.yaml", help="of phones (%(default)s)")
    options = parser.parse_args()
    if khg is None:
        needed = "pip install kaldi-hmm-gmm==1.1.4 kaldifst==1.7.17"
        print(f"hmm_against_kaldi: Kaldi's code is not installed: {needed}", file=sys.stderr)
        sys.exit(2)
    torch.set_num_threads(1)
    print(machine("cpu"), flush=True)
    with reported("hmm_against_kaldi"):
        sys.exit(compare(options.config))


if __name__ == "__main__":
    main()
