"""AN4's monophone HMMs, trained by us and by Kaldi's own C++: held-out log-likelihood within 1 %.

Both begin flat and get the same features, phones, pronunciations (each of weight 1), states in a
row without skips, self-loops of 0.5 at first, optional silence before, between and behind words
with probability 0.5, passes, number of Gaussians after each pass, shares of states (occupancy to
the power of 0.2, 20 frames a Gaussian), least occupancy of a Gaussian (10 frames) and of
transitions, and variance floor. Kaldi's silence usually has five states, and skips; here it has
ours. Kaldi aligns again in every pass, without scaling acoustics or self-loops, in a beam of 200
nats. What remains different:

- ours counts a frame for all paths (Baum-Welch), Kaldi for the best one (Viterbi);
- ours begins with all paths of equal states, Kaldi with a random path of equal stays;
- ours splits a Gaussian 0.2 standard deviations to either side, Kaldi by a random vector of
  0.01 standard deviations, which can't be seeded: no two runs of it are the same;
- ours gives a state no more than `model.max_components`, Kaldi knows no such bound;
- ours computes in single precision about the centre of the means, Kaldi about 0.

Held out are the development data, given their words. The features are MFCCs and two orders of
deltas, 39 values, each with mean 0 and variance 1 over an utterance. Another scale would add a
constant to all log-likelihoods, and so change their percentages: nats do not depend on it, nor what
is gained over one Gaussian of all frames, which is shown beside them. Each model is scored by both
programs on its best path, and by ours on all paths; on the same model they must agree.

Seconds are of the passes alone, on one thread, without features and graphs.

Run: python tests/benchmarks/hmm_against_kaldi.py [--config conf/an4/hmm.yaml]
Needs: pip install kaldi-hmm-gmm==1.1.4 kaldifst==1.7.17
"""

import argparse
import logging
import math
import sys
import time
import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytorch_lightning as pl
import torch

try:
    import kaldi_hmm_gmm as khg
    import kaldifst
except ImportError:
    khg = None

from asr.config import from_dict, read_yaml
from asr.errors import InputError, reported
from asr.gmm import Gmm, flat_start, variance_floor
from asr.hmm_paths import log_likelihoods, viterbi
from asr.results import machine
from asr.training.hmm import HmmTraining, trained_parts
from asr.training.hmm_data import HmmData
from asr.training.hmm_settings import HmmSettings

BAR = 0.01  # of the log-likelihood
AGREEMENT = 1e-4  # nats a frame
BEAM = 200.0  # nats
ALL = "mvwt"  # means, variances, weights, transitions


def train_ours(data, settings, passes):
    """Mixtures, topology, and (wall's, processor's) seconds."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    task = HmmTraining(settings, data.topology, data.tokenizer.symbols)
    trainer = pl.Trainer(
        max_epochs=passes,
        accelerator="cpu",
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    since = clocks()
    trainer.fit(task, data)
    return *trained_parts(task), elapsed(since)


def clocks():
    return time.perf_counter(), time.process_time()


def elapsed(since):
    return tuple(now - then for now, then in zip(clocks(), since, strict=True))


@dataclass
class Kaldi:
    """Kaldi's model. Its pdfs and ours have the same numbers; transition 2 p + 1 stays in pdf p."""

    mixtures: "khg.AmDiagGmm"
    transitions: "khg.TransitionModel"
    tree: "khg.ContextDependency"

    @classmethod
    def begin(cls, settings, n_phones, flat):
        """All pdfs alike."""
        model, silence = settings.model, n_phones + 1
        phones = topology_entry(range(1, silence), model.n_states)
        text = f"{phones} {topology_entry([silence], model.n_silence_states)}"
        topology = khg.HmmTopology()
        topology.read(f"<Topology> {text} </Topology>")
        classes = topology.get_phone_to_num_pdf_classes()
        tree = khg.monophone_context_dependency(topology.phones, classes)
        transitions = khg.TransitionModel(tree, topology)
        pdfs = [transitions.transition_id_to_pdf(n + 1) for n in range(2 * tree.num_pdfs)]
        assert pdfs == [n // 2 for n in range(transitions.num_transition_ids)]
        return cls(kaldi_mixtures([flat] * tree.num_pdfs), transitions, tree)


def topology_entry(phones, n_states):
    """States in a row, as Kaldi writes them."""
    states = "".join(
        f"<State> {n} <PdfClass> {n} <Transition> {n} 0.5 <Transition> {n + 1} 0.5 </State> "
        for n in range(n_states)
    )
    numbers = " ".join(map(str, phones))
    end = f"<State> {n_states} </State>"
    return f"<TopologyEntry> <ForPhones> {numbers} </ForPhones> {states} {end} </TopologyEntry>"


def kaldi_mixtures(states):
    """Kaldi's mixtures; of each state (M,) weights, (M, F) means and (M, F) variances."""
    mixtures = khg.AmDiagGmm()
    for weights, means, variances in states:
        state = khg.DiagGmm(*means.shape)
        state.set_weights(np.float32(weights))
        state.set_invvars_and_means(np.float32(1 / variances), np.float32(means))
        state.compute_gconsts()
        mixtures.add_pdf(state)
    return mixtures


def lexicon_fst(pronunciations, silence):
    """Phones -> words, numbered from 1; optional silence before, between and behind them."""
    fst = kaldifst.StdVectorFst()
    start, between, silent = (fst.add_state() for _ in range(3))
    fst.start = start
    fst.set_final(between, 0.0)
    half = math.log(2)
    for there in (between, silent):
        fst.add_arc(start, kaldifst.StdArc(0, 0, half, there))
    fst.add_arc(silent, kaldifst.StdArc(silence, 0, 0.0, between))
    for word, ways in enumerate(pronunciations, 1):
        for phones in ways:
            state, label = between, word
            for phone in phones[:-1]:
                there = fst.add_state()
                fst.add_arc(state, kaldifst.StdArc(phone, label, 0.0, there))
                state, label = there, 0
            for there in (between, silent):
                fst.add_arc(state, kaldifst.StdArc(phones[-1], label, half, there))
    return fst


def make_graphs(kaldi, data, utterances):
    """Kaldi's graph of each utterance, without the probabilities of transitions."""
    words = sorted({word for utterance in utterances for word in utterance.text.split()})
    numbers = {word: number for number, word in enumerate(words, 1)}
    ways = [data.tokenizer.pronunciations(word) for word in words]
    lexicon = lexicon_fst(ways, silence=len(data.tokenizer.symbols))
    options = khg.TrainingGraphCompilerOptions(transition_scale=0.0, self_loop_scale=0.0)
    compiler = khg.TrainingGraphCompiler(kaldi.transitions, kaldi.tree, lexicon, [], options)
    return {
        utterance.id: compiler.compile_graph_from_text([numbers[w] for w in utterance.text.split()])
        for utterance in utterances
    }


def equal_alignment(graph, n_frames, seed):
    """A random path, with all states about equally long: (T,) transitions."""
    found, path = kaldifst.equal_align(graph, n_frames, seed, num_retries=100)
    if not found:
        raise InputError(f"Kaldi finds no path of {n_frames} frames; expected longer utterances")
    return kaldifst.get_linear_symbol_sequence(path)[1]


def align(kaldi, graph, features, beam=BEAM):
    """The best path: its log-likelihood, and (T,) transitions."""
    graph = graph.copy()
    scales = {"transition_scale": 1.0, "self_loop_scale": 1.0}
    khg.add_transition_probs(kaldi.transitions, [], fst=graph, **scales)
    frames = khg.DecodableAmDiagGmmScaled(kaldi.mixtures, kaldi.transitions, features, 1.0)
    config = khg.AlignConfig(beam=beam)
    found = khg.align_utterance_wrapper(config, "", 1.0, graph, frames, 0, 0, 0, 0.0, 0)
    done, _, _, log_prob, _, transitions, _ = found
    if not done:
        raise InputError(f"Kaldi finds no path of {len(features)} frames in a beam of {beam}")
    return log_prob, transitions


def train_kaldi(kaldi, graphs, utterances, settings, floor, passes):
    """(Wall's, processor's) seconds; utterances have (T, F) features by their ids."""
    model, until, S = settings.model, settings.schedule.grow_until, kaldi.tree.num_pdfs
    rules = khg.MleDiagGmmOptions(min_gaussian_occupancy=model.min_count, min_variance=floor)
    since = clocks()
    for number in range(passes):
        counted, flags = khg.AccumAmDiagGmm(), khg.str_to_gmm_flags(ALL)
        counted.init(kaldi.mixtures, flags)
        moves = kaldi.transitions.init_stats()
        for seed, (id, features) in enumerate(utterances.items()):
            if number:
                _, transitions = align(kaldi, graphs[id], features)
            else:
                transitions = equal_alignment(graphs[id], len(features), seed)
            moves += np.bincount(transitions, minlength=len(moves))
            for frame, transition in zip(features, transitions, strict=True):
                counted.accumulate_for_gmm(kaldi.mixtures, frame, (transition - 1) // 2, 1.0)
        kaldi.transitions.mle_update(moves, khg.MleTransitionUpdateConfig(mincount=model.min_count))
        khg.mle_am_diag_gmm_update(rules, counted, flags, kaldi.mixtures)
        if number < until:
            total = S + round((model.n_components - S) * (number + 1) / until)
            frames = np.float32([counted.get_acc(pdf).occupancy.sum() for pdf in range(S)])
            kaldi.mixtures.split_by_count(frames, total, 0.01, 0.2, 2 * model.min_count)
    return elapsed(since)


def in_kaldi(kaldi, gmm, topology):
    """Our model as one of Kaldi's."""
    there = gmm.log_weights > -math.inf
    parts = gmm.log_weights.exp(), gmm.means, gmm.variances
    states = [[part[s, there[s]].numpy() for part in parts] for s in range(len(there))]
    stay = topology.self_loops.exp().numpy()
    moves = np.concatenate([[0.0], np.stack([stay, 1 - stay], 1).flatten()])
    transitions = khg.TransitionModel(kaldi.tree, kaldi.transitions.topo)
    transitions.mle_update(moves, khg.MleTransitionUpdateConfig(floor=0.0, mincount=0.0))
    return Kaldi(kaldi_mixtures(states), transitions, kaldi.tree)


def from_kaldi(kaldi, topology):
    """Kaldi's model as one of ours: mixtures and topology."""
    states = [kaldi.mixtures.get_pdf(pdf) for pdf in range(kaldi.mixtures.num_pdfs)]
    M, F = max(state.num_gauss for state in states), kaldi.mixtures.dim
    log_weights = torch.full((len(states), M), -math.inf, dtype=torch.float64)
    means, variances = torch.zeros(len(states), M, F), torch.ones(len(states), M, F)
    for s, state in enumerate(states):
        own = slice(state.num_gauss)
        log_weights[s, own] = torch.from_numpy(state.weights).double().log()
        means[s, own], variances[s, own] = map(torch.from_numpy, (state.means, state.vars))
    self_loops = torch.tensor(kaldi.transitions.log_probs, dtype=torch.float64)[1::2]
    return Gmm(log_weights, means, variances), replace(topology, self_loops=self_loops)


def our_scores(gmm, topology, batches):
    """Nats a frame, of all paths and of the best one."""
    totals, frames = np.zeros(2), 0
    for batch in batches:
        given = gmm.emissions(batch.features), batch.input_lengths, batch.graphs
        every, best = log_likelihoods(*given, topology.self_loops), None
        best, _ = viterbi(*given, topology.self_loops)
        totals += [float(every.sum()), float(best.sum())]
        frames += int(batch.input_lengths.sum())
    return totals / frames


def features_by_id(batches):
    """(T, F), float32, of each utterance."""
    return {
        id: batch.features[:length, n].numpy().copy()
        for batch in batches
        for n, (id, length) in enumerate(zip(batch.ids, batch.input_lengths, strict=True))
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="conf/an4/hmm.yaml", help="of phones (%(default)s)")
    options = parser.parse_args()
    if khg is None:
        needed = "pip install kaldi-hmm-gmm==1.1.4 kaldifst==1.7.17"
        print(f"hmm_against_kaldi: needs Kaldi's code: {needed}", file=sys.stderr)
        sys.exit(2)
    torch.set_num_threads(1)
    print(machine("cpu"))
    with reported("hmm_against_kaldi"):
        values = read_yaml(options.config)
        passes = values.pop("trainer")["max_epochs"]
        settings = from_dict(HmmSettings, values, options.config)
        data = HmmData(settings)
        data.setup("fit")
        gmm, topology, ours_seconds = train_ours(data, settings, passes)
        train, batches = features_by_id(data.train_dataloader()), list(data.val_dataloader())
        dev = features_by_id(batches)

        flat = flat_start(data.frames(), 1)
        floor = variance_floor(flat.variances[0, 0], settings.model.variance_floor)
        one = np.ones(1), flat.means[0].numpy(), flat.variances[0].numpy()
        kaldi = Kaldi.begin(settings, len(data.tokenizer.symbols) - 1, one)
        graphs = make_graphs(kaldi, data, [*data.train, *data.dev])
        kaldi_seconds = train_kaldi(kaldi, graphs, train, settings, float(floor.mean()), passes)

        sums = sum(float(flat.emissions(torch.from_numpy(f)).sum()) for f in dev.values())
        frames = sum(map(len, dev.values()))
        models = {
            "ours": ((gmm, topology), in_kaldi(kaldi, gmm, topology), ours_seconds),
            "Kaldi": (from_kaldi(kaldi, topology), kaldi, kaldi_seconds),
        }
        print(f"{len(train)} utterances, {sum(map(len, train.values()))} frames, {passes} passes")
        print(f"held out: {len(dev)} utterances, {frames} frames; nats a frame:")
        print(f"one Gaussian of all frames {sums / frames:.4f}")
        for name, (mine, theirs, seconds) in models.items():
            every, best = our_scores(*mine, batches)
            log_probs = [align(theirs, graphs[id], dev[id], 1e4)[0] for id in dev]
            print(name, every, best, sum(log_probs) / frames, seconds, theirs.mixtures.num_gauss)


if __name__ == "__main__":
    main()
