"""model, language models and manifests -> results of several ways of decoding, side by side."""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from asr.alignment.aligner import acoustic_confidences
from asr.decoder import Decoder, DecoderSettings
from asr.errors import listed
from asr.evaluation.calibration import words_right
from asr.evaluation.log_probs import Recognised
from asr.evaluation.results import SystemResult, compared, system_result, with_calibration
from asr.recognizer import Recognizer
from asr.search.confidence import fit_confidence
from asr.search.nbest import Hypothesis
from asr.search.rescore import (
    RescoreWeights,
    hypothesis_errors,
    lm_log_probs,
    rescore,
    text_of,
    united,
)
from asr.search.tuning import (
    LM_WEIGHTS,
    LONE_WORD_BONUSES,
    WORD_BONUSES,
    Tuning,
    tune,
    write_tuning,
)

ROUNDS = 4
"""Maximum number of searches of the development data for tuning the weights of a search."""


@dataclass(frozen=True)
class System:
    """One way of decoding, with its result on the test set.

    Args:
        result: error rates and other figures.
        hypotheses: recognised texts, one for each utterance.
        settings: the decoder's settings.
        confidences: (words,), confidences of all recognised words; empty for an oracle.
        right: (words,), bool, whether these words are right.
    """

    result: SystemResult
    hypotheses: list[str]
    settings: DecoderSettings
    confidences: np.ndarray = field(default_factory=lambda: np.empty(0))
    right: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=bool))


@dataclass
class Comparison:
    """Decodes one test set in several ways.

    Weights are tuned on development data. Without development data, a search uses the weights of
    its settings.

    Args:
        recognizer: recogniser of the acoustic model.
        test: the acoustic model's output for the test set.
        dev: its output for the development data; None for no tuning.
        out: folder for the grids of the tuning.
        systems: the systems decoded so far.
    """

    recognizer: Recognizer
    test: Recognised
    dev: Recognised | None
    out: Path
    systems: list[System] = field(default_factory=list)
    _oov: list[str] = field(default_factory=list, init=False)

    def search(self, name: str, settings: DecoderSettings) -> System:
        """Decode the test set with a search, and add the system.

        With a language model, its weight and the word bonus are tuned. For an HMM without a
        language model, the word bonus is tuned, because without it long words are recognised as
        several short ones. Tuning repeats two steps until the weights stay the same: search with
        the current weights, then choose the best weights for all hypotheses found so far. This
        takes a few searches; a grid would take dozens. At last, the confidences of words are
        calibrated on the development data.

        Args:
            name: the system's name.
            settings: settings of the search, without rescorers.
        """
        decoder = self._loaded(settings)
        self._report_oov(name, decoder)
        needs_word_bonus = self.recognizer.model.kind.needs_word_bonus
        if (settings.lm or needs_word_bonus) and self.dev is not None:
            decoder = self._tuned(name, decoder, self.dev)
        settings = decoder.settings
        if self.dev is not None:
            settings = self._calibrated(settings, decoder.nbests(self.dev.log_probs), self.dev)
        return self._decoded(name, decoder, settings)

    def decode(self, name: str, settings: DecoderSettings) -> System:
        """Decode the test set with settings as they are, rescorers included; add the system.

        Args:
            name: the system's name.
            settings: all settings, such as those that a model was tuned to.
        """
        decoder = self._loaded(settings)
        self._report_oov(name, decoder)
        return self._decoded(name, decoder, settings)

    def all_ways(
        self, settings: DecoderSettings, lms: Sequence[str], rescorers: Sequence[str]
    ) -> System:
        """Add a search without language model, one with each language model, and rescoring.

        Args:
            settings: settings of the searches, with weights for a language model, but without its
                path.
            lms: paths of language models; systems are named after the file or folder.
            rescorers: paths of language models for rescoring. Together with the first of `lms` they
                rescore the n-best lists of the search with that language model.

        Returns:
            system: the rescored system; without rescorers, the search with the first of `lms`; also
                without language models, the search without one.
        """
        without_lm = replace(settings.beam, lm_weight=0.0, word_bonus=0.0)
        found = [self.search(settings.decoder, replace(settings, beam=without_lm))]
        for lm in lms:
            name = f"{settings.decoder}-{Path(lm).stem}"
            found.append(self.search(name, replace(settings, lm=lm)))
        best = found[min(1, len(lms))]
        return self.rescore(best, [*lms[:1], *rescorers]) if rescorers else best

    def rescore(self, base: System, rescorers: Sequence[str]) -> System:
        """Rescore the n-best lists of a system; add the result, and the oracle of these lists.

        Args:
            base: the system with the n-best lists.
            rescorers: paths of language models.

        Raises:
            ValueError: there is no development data to tune the weights on.
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
        _report_ends(name, found.at_end)
        tuned = found.weights
        settings = replace(settings, lm_weights=tuned.lm_weights, word_bonus=tuned.word_bonus)
        nbests = [rescore(n, s, tuned) for n, s in zip(nbests, scores, strict=True)]
        settings = self._calibrated(settings, nbests, self.dev)
        decoder = decoder.weighted(settings)
        started = time.perf_counter()
        nbests = decoder.nbests(self.test.log_probs)
        seconds = time.perf_counter() - started
        system = self._add(name, nbests, seconds, decoder.settings, base)
        self._add_oracle(f"{base.result.name}-oracle", nbests, decoder.settings)
        return system

    def _decoded(self, name: str, decoder: Decoder, settings: DecoderSettings) -> System:
        started = time.perf_counter()
        nbests = decoder.nbests(self.test.log_probs)
        return self._add(name, nbests, time.perf_counter() - started, settings)

    def _loaded(self, settings: DecoderSettings) -> Decoder:
        recognizer = self.recognizer
        model = recognizer.model
        return Decoder.load(settings, model.tokenizer, recognizer.device, topology=model.topology)

    def _report_oov(self, name: str, decoder: Decoder) -> None:
        """Print the out-of-vocabulary words of the references on stderr."""
        lexicon = decoder.space.lexicon if decoder.space else None
        if lexicon is None:
            return
        known = set(lexicon.words)
        said = [word for text in self.test.references for word in text.split()]
        oov = [word for word in said if word not in known]
        different = list(dict.fromkeys(oov))
        if different and different != self._oov:  # don't repeat the same list
            found = f"{len(oov)} of the {len(said)} words of the references"
            print(f"{name}: {found} can't be recognised: {listed(different)}", file=sys.stderr)
        self._oov = different

    def _tuned(self, name: str, decoder: Decoder, dev: Recognised) -> Decoder:
        lms = [decoder.space.lm] if decoder.space and decoder.space.lm else []
        tried: dict[RescoreWeights, Decoder] = {}
        beam = decoder.settings.beam
        weights = RescoreWeights((beam.lm_weight,) * len(lms), beam.word_bonus)
        known: list[list[Hypothesis]] = [[] for _ in dev.references]
        while weights not in tried and len(tried) < ROUNDS:
            decoder = tried[weights] = _weighted(decoder, weights)
            # the hypotheses of one search are too similar to judge weights far from its own
            nbests = decoder.by_text(dev.log_probs, decoder.nbests(dev.log_probs))
            known = [united(*both) for both in zip(known, nbests, strict=True)]
            found = self._tune(name, known, lm_log_probs(known, lms), dev)
            weights = found.weights
        _report_ends(name, found.at_end)
        return tried.get(weights, decoder)

    def _tune(
        self,
        name: str,
        nbests: Sequence[Sequence[Hypothesis]],
        scores: Sequence[np.ndarray],
        dev: Recognised,
    ) -> Tuning:
        scale = self.recognizer.model.kind.weight_scale
        n_lms = scores[0].shape[1]
        # the full grid would take minutes for three language models, and hours for four
        axes = LM_WEIGHTS[:: max(1, n_lms - 1)], WORD_BONUSES if n_lms else LONE_WORD_BONUSES
        lm_weights, word_bonuses = (tuple(scale * value for value in axis) for axis in axes)
        found = tune(nbests, scores, dev.references, lm_weights, word_bonuses)
        write_tuning(self.out, found, f"tuning.{name}")
        return found

    def _calibrated(
        self, settings: DecoderSettings, nbests: Sequence[Sequence[Hypothesis]], dev: Recognised
    ) -> DecoderSettings:
        """The settings with weights that calibrate confidences, fitted on development data."""
        acoustic, right = self._acoustic_confidences(nbests, dev)
        weights = fit_confidence(nbests, acoustic, right) if any(map(len, right)) else None
        return replace(settings, confidence=weights)

    def _confidences(
        self, nbests: Sequence[Sequence[Hypothesis]], settings: DecoderSettings
    ) -> tuple[np.ndarray, np.ndarray]:
        """Confidences of all words recognised in the test set, and whether these are right."""
        confidences, right = self._acoustic_confidences(nbests, self.test)
        if weights := settings.confidence:
            pairs = zip(confidences, nbests, strict=True)
            confidences = [weights.calibrated(own, nbest) for own, nbest in pairs]
        return np.concatenate(confidences), np.concatenate(right)

    def _acoustic_confidences(
        self, nbests: Sequence[Sequence[Hypothesis]], recognised: Recognised
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The same for each utterance, with the acoustic model's confidences."""
        best = [nbest[0] for nbest in nbests]
        pairs = zip(recognised.log_probs, best, strict=True)
        model = self.recognizer.model
        acoustic = [acoustic_confidences(model, rows, hypothesis) for rows, hypothesis in pairs]
        return acoustic, words_right(recognised.references, [h.text for h in best])

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
        confidences, right = self._confidences(nbests, settings)
        result = with_calibration(result, confidences, right)
        if self.systems:
            other = over or self.systems[0]
            result = compared(
                result, self.test.references, texts, other.result.name, other.hypotheses
            )
        self.systems.append(System(result, texts, settings, confidences, right))
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
        seconds = self.test.seconds  # choosing the best hypotheses is not counted
        result = system_result(name, self.test.references, texts, self.test.audio_s, seconds)
        self.systems.append(System(result, texts, settings))


def _weighted(decoder: Decoder, weights: RescoreWeights) -> Decoder:
    lm_weight = sum(weights.lm_weights)  # one language model or none
    beam = replace(decoder.settings.beam, lm_weight=lm_weight, word_bonus=weights.word_bonus)
    return decoder.weighted(replace(decoder.settings, beam=beam))


def _report_ends(name: str, at_end: Sequence[str]) -> None:
    for axis in at_end:
        print(f"{name}: the best {axis} is at the end of what was tried", file=sys.stderr)
