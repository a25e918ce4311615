"""log_probs or emissions -> nbest and text, with the decoder that a model's folder describes."""

import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from asr.config import from_dict
from asr.errors import InputError, check_size, counted
from asr.files import replacing, write_json
from asr.folder import (
    DESCRIPTION,
    MAX_WEIGHTS_BYTES,
    MAX_WORDS_BYTES,
    WEIGHTS,
    check_bytes,
    inside,
    read_json_inside,
)
from asr.hmm.topology import Topology
from asr.lm.load import load_language_model, with_words
from asr.lm.protocol import LanguageModel
from asr.model import CTC, HMM, HYBRID
from asr.search.confidence import ConfidenceWeights
from asr.search.greedy import greedy_search
from asr.search.lexicon_tree import make_lexicon_tree
from asr.search.nbest import FrameScores, Hypothesis, spelled
from asr.search.phrases import PhraseBoosts
from asr.search.rescore import (
    RescoreWeights,
    exact_log_probs,
    lm_log_probs,
    merged,
    rescore,
)
from asr.search.space import BeamSettings, SearchSpace
from asr.text.lexicon import read_words
from asr.text.normalisation import Case, in_case
from asr.text.phrases import Phrases, as_phrases
from asr.text.tokenizer import Tokenizer

DECODING = "decoding.json"
"""File of the decoder's settings in a model's folder."""

DecoderName = Literal["greedy", "beam", "flashlight"]
"""Best path, this package's prefix beam search, or flashlight-text's beam search."""

LMPrecision = Literal["float32", "bfloat16"]
"""Number format that recurrent language models compute in."""

UNTUNED = BeamSettings(lm_weight=0.7, word_bonus=1.0)
"""Settings for CTC and a language model whose weights have not been tuned."""

_UNTUNED_HMM = BeamSettings(beam_width=200, score_floor=-200.0, lm_weight=8.0, word_bonus=-5.0)

UNTUNED_OF = {CTC: UNTUNED, HMM: _UNTUNED_HMM, HYBRID: _UNTUNED_HMM}
"""The same for each kind of model."""

MAX_RESCORERS = 16
"""Maximum number of language models that rescore an n-best list."""


@dataclass(frozen=True)
class DecoderSettings:
    """Settings of the decoder, which turns log-probabilities into text.

    Args:
        decoder: the kind of search.
        beam: settings of the beam search.
        lm: path of the language model used in the search; empty for none.
        lexicon: path of the list of allowed words: one word per line, or a pronunciation
            dictionary. If empty, the words of the acoustic model's own lexicon are used, or else
            those of `lm`, if it is a model of words.
        rescorers: paths of the language models that rescore the n-best list.
        lm_weights: weights of the rescorers, one for each.
        word_bonus: nats added per word in rescoring.
        lm_precision: number format of recurrent language models, in search and rescoring.
            bfloat16 takes half the time on processors that support it; log-probabilities of
            sentences then differ by about 0.1.
        confidence: weights that calibrate the confidences of words, fitted on what the decoder with
            these settings recognises; None to keep the acoustic model's confidences.
    """

    decoder: DecoderName = "greedy"
    beam: BeamSettings = field(default_factory=BeamSettings)
    lm: str = ""
    lexicon: str = ""
    rescorers: tuple[str, ...] = ()
    lm_weights: tuple[float, ...] = ()
    word_bonus: float = 0.0
    lm_precision: LMPrecision = "float32"
    confidence: ConfidenceWeights | None = None

    def __post_init__(self) -> None:
        if len(self.rescorers) != len(self.lm_weights):
            raise InputError(
                f"lm_weights has {counted(len(self.lm_weights), 'number')};"
                " expected one for each of the"
                f" {len(self.rescorers)} rescorers"
            )
        if not all(self.rescorers):
            raise InputError(f"rescorers is {list(self.rescorers)}; expected paths")
        check_size("number of rescorers", len(self.rescorers), 0, MAX_RESCORERS)
        if not all(map(math.isfinite, (*self.lm_weights, self.word_bonus))):
            raise InputError(
                f"lm_weights is {list(self.lm_weights)}, word_bonus {self.word_bonus}; expected"
                " numbers"
            )
        weights = self.confidence
        if weights and not (all(map(math.isfinite, astuple(weights))) and weights.scale > 0):
            raise InputError(f"confidence is {weights}; expected numbers, and a scale above 0")
        given = {"lm": self.lm, "lexicon": self.lexicon, "rescorers": self.rescorers}
        refuse_greedy(self.decoder, given)


def default_decoder(tokenizer: Tokenizer) -> DecoderName:
    """`greedy`, or `beam` if only a lexicon can turn the tokens into words, as with phones."""
    return "beam" if tokenizer.words else "greedy"


def refuse_greedy(decoder: str, given: Mapping[str, object]) -> None:
    """Refuse options that greedy search, which uses only log_probs, would ignore.

    Args:
        decoder: name of the decoder.
        given: values by the name that the user knows them by; false values count as not given.

    Raises:
        InputError: the decoder is greedy, and one of the values is given.
    """
    names = ", ".join(name for name, value in given.items() if value)
    if decoder == "greedy" and names:
        raise InputError(
            "decoder is greedy, which uses the acoustic model alone; expected beam or flashlight"
            f" with {names}"
        )


class Search(NamedTuple):
    """The search functions for a decoder and a kind of model.

    Args:
        run: log_probs of utterances and the search space -> n-best lists.
        by_text: log_probs and n-best list of one utterance -> the list with each text once, with
            the text's exact log-probability (CTC) or a lower bound of it (HMM).
    """

    run: Callable[[Sequence[FrameScores], Any], list[list[Hypothesis]]]
    by_text: Callable[[Tensor | np.ndarray, Sequence[Hypothesis]], list[Hypothesis]]


GREEDY = Search(lambda log_probs, _: [[greedy_search(rows)] for rows in log_probs], exact_log_probs)
"""Greedy search."""


def search_of(decoder: DecoderName, topology: Topology | None = None) -> Search:
    """The search functions of a decoder.

    Args:
        decoder: name of the decoder.
        topology: the HMM's topology; None for CTC.

    Raises:
        InputError: the decoder can't be used with an HMM, or its package is not installed.
    """
    if topology is not None:
        if decoder != "beam":
            raise InputError(f"decoder is {decoder}; expected beam with an HMM")
        from asr.search.hmm_beam import hmm_beam_search

        run = partial(hmm_beam_search, topology=topology)
        return Search(run, lambda _, nbest: merged(nbest))
    if decoder == "flashlight":
        from asr.search.flashlight import flashlight_search, import_flashlight

        import_flashlight()  # here, not at each search, it is refused once if it is missing
        return Search(flashlight_search, exact_log_probs)
    if decoder == "greedy":
        return GREEDY
    from asr.search.beam import ctc_beam_search

    return Search(ctc_beam_search, exact_log_probs)


@dataclass(frozen=True)
class Decoder:
    """Decoder settings with the language models and lexicon that they name, loaded.

    Args:
        settings: the settings; their paths are relative to the working directory.
        tokenizer: the acoustic model's tokenizer.
        device: device of the language models and the search.
        space: search space of the beam search; None for greedy search.
        rescorers: the language models that rescore n-best lists.
        search: search functions.
    """

    settings: DecoderSettings
    tokenizer: Tokenizer
    device: torch.device
    space: SearchSpace | None = None
    rescorers: tuple[LanguageModel, ...] = ()
    search: Search = GREEDY

    @classmethod
    def load(
        cls,
        settings: DecoderSettings,
        tokenizer: Tokenizer,
        device: str | torch.device = "cpu",
        phrases: Phrases | None = None,
        topology: Topology | None = None,
    ) -> "Decoder":
        """Load the files that the settings name.

        Args:
            settings: the settings; their paths are relative to the working directory.
            tokenizer: the acoustic model's tokenizer.
            device: device of the language models and the search.
            phrases: phrases to make more likely, with the nats added for each of their tokens; see
                `make_boosts`. Their words are added to the lexicon.
            topology: the HMM's topology; None for CTC.

        Raises:
            InputError: a file or a phrase can't be used or doesn't fit the tokens; the decoder
                can't be used with an HMM or with these files, or its package is not installed.
        """
        device = torch.device(device)
        search = search_of(settings.decoder, topology)
        if settings.decoder == "greedy":
            return cls(settings, tokenizer, device)
        case = tokenizer.case  # words of files are converted to the case of the model's text
        likely = [one._replace(text=in_case(one.text, case)) for one in as_phrases(phrases or ())]
        boosts = make_boosts(likely, tokenizer) if likely else None
        extra = [word for phrase in likely for word in phrase.text.split()]
        words: list[str] = []
        if settings.lexicon:
            words = [*(in_case(word, case) for word in read_words(settings.lexicon)), *extra]
        elif tokenizer.words:
            words = [*tokenizer.words, *extra]
        lm = _load_lm(settings.lm, settings, device, words, case) if settings.lm else None
        if lm is not None and lm.vocabulary.unit == "word" and not words:
            words = [*lm.vocabulary.symbols[2:], *extra]  # without <unk> and <eos>
        if lm is not None and settings.decoder != "flashlight":
            lm = with_words(lm, words)
        place = settings.lexicon or settings.lm or "the model's lexicon"
        trie = make_lexicon_tree(words, tokenizer, place) if words else None
        try:
            space = SearchSpace(tokenizer, settings.beam, trie, lm, boosts)
        except InputError as error:
            raise InputError(f"{settings.lm}: {error}" if settings.lm else str(error)) from None
        if settings.decoder == "flashlight":
            from asr.search.flashlight import check_supported

            check_supported(space)
        loaded = (_load_lm(path, settings, device, words, case) for path in settings.rescorers)
        rescorers = tuple(with_words(rescorer, words) for rescorer in loaded)
        return cls(settings, tokenizer, device, space, rescorers, search)

    def weighted(self, settings: DecoderSettings) -> "Decoder":
        """A copy with other weights; the settings must name the same files."""
        space = self.space and replace(self.space, settings=settings.beam)
        return replace(self, settings=settings, space=space)

    def nbests(self, log_probs: Sequence[Tensor | np.ndarray]) -> list[list[Hypothesis]]:
        """Decode utterances.

        Args:
            log_probs: one array for each utterance: (T, C), or an HMM's emissions, (T, S).

        Returns:
            nbests: one n-best list for each utterance, best first; each hypothesis has its words.

        Raises:
            ValueError: a log-probability is NaN or +inf.
        """
        # the lexicon may allow nothing that fits the frames
        found = [n or [Hypothesis((), -math.inf)] for n in self.search.run(log_probs, self.space)]
        nbests = [spelled(nbest, self.tokenizer) for nbest in found]
        if not self.rescorers:
            return nbests
        nbests = self.by_text(log_probs, nbests)
        weights = RescoreWeights(self.settings.lm_weights, self.settings.word_bonus)
        scores = lm_log_probs(nbests, self.rescorers)
        return [rescore(n, s, weights) for n, s in zip(nbests, scores, strict=True)]

    def by_text(
        self, log_probs: Sequence[Tensor | np.ndarray], nbests: Sequence[Sequence[Hypothesis]]
    ) -> list[list[Hypothesis]]:
        """Keep each text of an n-best list once, with its log-probability; see `Search.by_text`."""
        return [self.search.by_text(r, n) for r, n in zip(log_probs, nbests, strict=True)]


def _load_lm(
    path: str, settings: DecoderSettings, device: torch.device, words: Sequence[str], case: Case
) -> LanguageModel:
    lm = load_language_model(path, device, words, case)
    if isinstance(lm, torch.nn.Module) and settings.lm_precision == "bfloat16":
        lm.bfloat16()
    return lm


def make_boosts(phrases: Phrases, tokenizer: Tokenizer) -> PhraseBoosts:
    """Make the boosts of phrases, for all their pronunciations.

    Phrases with the same pronunciation get the highest of their boosts.

    Args:
        phrases: phrases, with the nats added for each of their tokens.
        tokenizer: the acoustic model's tokenizer.

    Raises:
        InputError: a phrase has no word or a word that the tokens can't spell, or its boost is not
            a finite number.
    """
    boosts: dict[tuple[int, ...], float] = {}
    for phrase, nats, place in as_phrases(phrases):
        words = phrase.split()
        if not words:
            raise InputError(f"{place}: has no word; expected one or more")
        if not math.isfinite(nats):
            raise InputError(f"{place}: its boost is {nats}; expected nats")
        for tokens in tokenizer.spellings(" ".join(words), place):
            boosts[tokens] = max(nats, boosts.get(tokens, -math.inf))
    return PhraseBoosts.build(boosts, tokenizer.separator, len(tokenizer.symbols))


def save_decoding(folder: str | Path, settings: DecoderSettings) -> None:
    """Write `decoding.json` into a model's folder, and copy the files that it names there."""
    folder = Path(folder)
    roles = {path: f"rescorer-{n}" for n, path in enumerate(settings.rescorers, 1)}
    roles |= {settings.lm: "lm", settings.lexicon: "lexicon"}
    copied = {path: _copy(Path(path), folder, role) for path, role in roles.items() if path}
    values = asdict(_with_paths(settings, copied))
    for name in ("token_floor", "score_floor"):
        if values["beam"][name] == -math.inf:
            values["beam"][name] = "-.inf"  # YAML's spelling, because settings are read as YAML
    write_json(folder / DECODING, values)


def load_decoding(folder: str | Path) -> DecoderSettings | None:
    """Read the decoder settings of a model's folder.

    Returns:
        settings: with paths relative to the working directory; None if the folder has no
            `decoding.json`.

    Raises:
        InputError: the file can't be used, or it names a file that is outside the folder or too
            large.
    """
    path = Path(folder) / DECODING
    if not os.path.lexists(path):
        return None
    values = read_json_inside(folder, DECODING, "settings of decoding")
    match values:
        case {"beam": dict(beam)}:
            beam.pop("unk_bonus", None)  # earlier releases had one, which was of no use
    settings = from_dict(DecoderSettings, values, str(path))
    try:
        paths = {name: inside(folder, name) for name in _paths(settings)}
        for name, file in paths.items():
            check_bytes(file, MAX_WORDS_BYTES if name == settings.lexicon else MAX_WEIGHTS_BYTES)
        return _with_paths(settings, {name: str(file) for name, file in paths.items()})
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _paths(settings: DecoderSettings) -> list[str]:
    return [path for path in (settings.lm, settings.lexicon, *settings.rescorers) if path]


def _with_paths(settings: DecoderSettings, to: Mapping[str, str]) -> DecoderSettings:
    return replace(
        settings,
        lm=to.get(settings.lm, ""),
        lexicon=to.get(settings.lexicon, ""),
        rescorers=tuple(to[path] for path in settings.rescorers),
    )


def _copy(source: Path, folder: Path, role: str) -> str:
    """Copy a file, or the two files of a language model's folder, and return the new name."""
    name = f"decoding/{role}{source.suffix if source.is_file() else ''}"
    target = folder / name
    if source.resolve() == target.resolve():
        return name
    files = {source: target}
    if source.is_dir():
        files = {source / part: target / part for part in (DESCRIPTION, WEIGHTS)}
    for here, there in files.items():
        there.parent.mkdir(parents=True, exist_ok=True)
        # replaced, not overwritten: another program may have the old file mapped into memory
        with replacing(there) as partial:
            shutil.copyfile(here, partial)
    return name
