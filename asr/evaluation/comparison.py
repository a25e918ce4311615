"""A model, language models and manifests -> every way of decoding, side by side."""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from asr.decoder import Decoder, DecoderSettings
from asr.errors import listed
from asr.evaluation.log_probs import Recognised
from asr.evaluation.results import SystemResult, compared, system_result
from asr.recognizer import Recognizer
from asr.search.nbest import Hypothesis
from asr.search.rescore import RescoreWeights, hypothesis_errors, lm_log_probs, text_of, united
from asr.search.tuning import (
    LM_WEIGHTS,
    LONE_WORD_BONUSES,
    WORD_BONUSES,
    Tuning,
    tune,
    write_tuning,
)

ROUNDS = 4
"""Searches of development data, at most, that find the weights of a search."""

HMM_SCALE = 10.0
"""An HMM's emissions take weights so many times as large."""


@dataclass(frozen=True)
class System:
    """One way of decoding, with what it made of the test set.

    Args:
        result: its figures.
        hypotheses: its texts, one an utterance.
        settings: how it decodes.
    """

    result: SystemResult
    hypotheses: list[str]
    settings: DecoderSettings


@dataclass
class Comparison:
    """Decodes one test set in every way that it is asked for.

    Weights are tuned on development data. Without any, those of a search are as its settings have
    them.

    Args:
        recognizer: of the acoustic model.
        test: what it makes of the test set.
        dev: likewise of development data; None where weights are not to be tuned.
        out: folder for the grids of the tuning.
        systems: those decoded so far.
    """

    recognizer: Recognizer
    test: Recognised
    dev: Recognised | None
    out: Path
    systems: list[System] = field(default_factory=list)
    _oov: list[str] = field(default_factory=list, init=False)

    def search(self, name: str, settings: DecoderSettings) -> System:
        """Add the system that searches as the settings say.

        Where the search goes by a language model, its weight and the word bonus are tuned; where an
        HMM has none, the bonus alone, since nothing else keeps it from finding many short words
        in a long one. They are tuned by turns: those that do best among the hypotheses that all
        searches so far have found are taken for the next search, until they stay. That takes a few
        searches where a grid of them takes dozens.

        Args:
            name: of the system.
            settings: without rescorers.
        """
        decoder = self._loaded(settings)
        self._tell_oov(name, decoder)
        is_hmm = self.recognizer.model.topology is not None
        if (settings.lm or is_hmm) and self.dev is not None:
            decoder = self._tuned(name, decoder, self.dev)
        started = time.perf_counter()
        nbests = decoder.nbests(self.test.log_probs)
        return self._add(name, nbests, time.perf_counter() - started, decoder.settings)

    def all_ways(
        self, settings: DecoderSettings, lms: Sequence[str], rescorers: Sequence[str]
    ) -> System:
        """Add a search by tokens and lexicon alone, one with each language model, and rescoring.

        Args:
            settings: of the searches, with weights for a language model; they name none.
            lms: paths; the name of the system is that of the file or folder.
            rescorers: paths; with the first of `lms` they re-order what the search with it found.

        Returns:
            system: the rescored one, or else the search with the first of `lms`, or without.
        """
        alone = replace(settings.beam, lm_weight=0.0, word_bonus=0.0)
        found = [self.search(settings.decoder, replace(settings, beam=alone))]
        for lm in lms:
            name = f"{settings.decoder}-{Path(lm).stem}"
            found.append(self.search(name, replace(settings, lm=lm)))
        best = found[min(1, len(lms))]
        return self.rescore(best, [*lms[:1], *rescorers]) if rescorers else best

    def rescore(self, base: System, rescorers: Sequence[str]) -> System:
        """Add the system that re-orders what another one found, and the best order there is.

        Args:
            base: the other one.
            rescorers: paths of language models.

        Raises:
            ValueError: there are no development data, which alone give language models weights.
        """
        if self.dev is None:
            raise ValueError("dev is None; expected development data to find weights on")
        name = f"{base.result.name}-rescored"
        settings = replace(
            base.settings,
            rescorers=tuple(rescorers),
            lm_weights=(0.0,) * len(rescorers),
            word_bonus=0.0,
        )
        decoder = self._loaded(settings)
        nbests = self._loaded(base.settings).nbests(self.dev.log_probs)
        nbests = decoder.by_text(self.dev.log_probs, nbests)
        scores = lm_log_probs(nbests, decoder.rescorers)
        found = self._tune(name, nbests, scores, self.dev)
        _tell(name, found.at_end)
        tuned = found.weights
        settings = replace(settings, lm_weights=tuned.lm_weights, word_bonus=tuned.word_bonus)
        decoder = decoder.weighted(settings)
        started = time.perf_counter()
        nbests = decoder.nbests(self.test.log_probs)
        seconds = time.perf_counter() - started
        system = self._add(name, nbests, seconds, decoder.settings, base)
        self._add_oracle(f"{base.result.name}-oracle", nbests, decoder.settings)
        return system

    def _loaded(self, settings: DecoderSettings) -> Decoder:
        recognizer = self.recognizer
        model = recognizer.model
        return Decoder.load(settings, model.tokenizer, recognizer.device, topology=model.topology)

    def _tell_oov(self, name: str, decoder: Decoder) -> None:
        """Name the words of the references that no search among the lexicon's can find."""
        lexicon = decoder.space.lexicon if decoder.space else None
        if lexicon is None or lexicon.open:
            return
        known = set(lexicon.words)
        said = [word for text in self.test.references for word in text.split()]
        oov = [word for word in said if word not in known]
        different = list(dict.fromkeys(oov))
        if different and different != self._oov:  # the same ones are told once
            found = f"{len(oov)} of the {len(said)} words of the references"
            print(f"{name}: {found} can't be recognised: {listed(different)}", file=sys.stderr)
        self._oov = different

    def _tuned(self, name: str, decoder: Decoder, dev: Recognised) -> Decoder:
        assert decoder.space is not None
        lms = [lm for lm in [decoder.space.lm] if lm is not None]
        tried: dict[RescoreWeights, Decoder] = {}
        beam = decoder.settings.beam
        weights = RescoreWeights((beam.lm_weight,) * len(lms), beam.word_bonus)
        known: list[list[Hypothesis]] = [[] for _ in dev.references]
        while weights not in tried and len(tried) < ROUNDS:
            decoder = tried[weights] = _weighted(decoder, weights)
            # one search's texts are too much alike to tell what far weights would find
            nbests = decoder.by_text(dev.log_probs, decoder.nbests(dev.log_probs))
            known = [united(*both) for both in zip(known, nbests, strict=True)]
            found = self._tune(name, known, lm_log_probs(known, lms), dev)
            weights = found.weights
        _tell(name, found.at_end)
        return tried.get(weights, decoder)

    def _tune(
        self,
        name: str,
        nbests: Sequence[Sequence[Hypothesis]],
        scores: Sequence[np.ndarray],
        dev: Recognised,
    ) -> Tuning:
        scale = 1.0 if self.recognizer.model.topology is None else HMM_SCALE
        n_lms = scores[0].shape[1]
        # a grid of all weights of three language models would take minutes, of four hours
        axes = LM_WEIGHTS[:: max(1, n_lms - 1)], WORD_BONUSES if n_lms else LONE_WORD_BONUSES
        lm_weights, word_bonuses = (tuple(scale * value for value in axis) for axis in axes)
        found = tune(nbests, scores, dev.references, lm_weights, word_bonuses)
        write_tuning(self.out, found, f"tuning.{name}")
        return found

    def _add(
        self,
        name: str,
        nbests: Sequence[Sequence[Hypothesis]],
        seconds: float,
        settings: DecoderSettings,
        over: System | None = None,
    ) -> System:
        texts = [text_of(nbest[0], self.recognizer.model.tokenizer) for nbest in nbests]
        seconds += self.test.seconds
        decoding = None if settings.decoder == "greedy" else asdict(settings)
        result = system_result(
            name, self.test.references, texts, self.test.audio_s, seconds, decoding
        )
        if self.systems:
            other = over or self.systems[0]
            result = compared(
                result, self.test.references, texts, other.result.name, other.hypotheses
            )
        self.systems.append(System(result, texts, settings))
        return self.systems[-1]

    def _add_oracle(
        self,
        name: str,
        nbests: Sequence[Sequence[Hypothesis]],
        settings: DecoderSettings,
    ) -> None:
        errors = hypothesis_errors(nbests, self.test.references)
        best = [
            nbest[int(np.argmin([count.errors for count in counts]))]
            for nbest, counts in zip(nbests, errors, strict=True)
        ]
        texts = [text_of(hypothesis, self.recognizer.model.tokenizer) for hypothesis in best]
        seconds = self.test.seconds  # of looking up what was said nothing is counted
        result = system_result(name, self.test.references, texts, self.test.audio_s, seconds)
        self.systems.append(System(result, texts, settings))


def _weighted(decoder: Decoder, weights: RescoreWeights) -> Decoder:
    lm_weight = sum(weights.lm_weights)  # of the only language model, or of none
    beam = replace(decoder.settings.beam, lm_weight=lm_weight, word_bonus=weights.word_bonus)
    return decoder.weighted(replace(decoder.settings, beam=beam))


def _tell(name: str, at_end: Sequence[str]) -> None:
    for axis in at_end:
        print(f"{name}: the best {axis} is at the end of what was tried", file=sys.stderr)
