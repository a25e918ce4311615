"""All HMM paths of an utterance, enumerated one by one: slow, and obviously correct."""

import itertools
import math

import numpy as np

from asr.hmm.topology import ENTER_SILENCE, PASS_SILENCE


def chains(words, topology):
    """(weight, states) of each choice of pronunciations and silences, without self-loops.

    A state is (pdf, word, position, token, state).
    """
    pause = [(pdf, -1, -1, 0, state) for state, pdf in enumerate(topology.silence)]
    gaps = itertools.product([True, False], repeat=len(words) + 1) if pause else [None]
    for silent, spoken in itertools.product(gaps, list(itertools.product(*words))):
        if not words and silent != (True,):
            continue
        weight, states = 0.0, []
        for number in range(len(words) + 1):
            if silent is not None:
                weight += ENTER_SILENCE if silent[number] else PASS_SILENCE
                states += pause if silent[number] else []
            if number < len(words):
                states += [
                    (int(pdf), number, position, token, state)
                    for position, token in enumerate(spoken[number])
                    for state, pdf in enumerate(topology.pdfs[token])
                ]
        yield weight, states


def paths(words, topology, T):
    """(log-probability, states) of each path of T frames, without the emissions."""
    stay = topology.self_loops.tolist()
    for weight, states in chains(words, topology):
        for cuts in itertools.combinations(range(1, T), len(states) - 1):
            durations = np.diff([0, *cuts, T]).tolist()
            path = [s for s, frames in zip(states, durations, strict=True) for _ in range(frames)]
            moves = [
                (frames - 1) * stay[s[0]] + math.log(-math.expm1(stay[s[0]]))
                for s, frames in zip(states, durations, strict=True)
            ]
            yield weight + sum(moves), path
