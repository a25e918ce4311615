"""log_probs or emissions -> nbest and text, by search and language models that a folder names."""

import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr.config import from_dict
from asr.errors import InputError, check_size
from asr.files import replacing, write_json
from asr.folder import DESCRIPTION, WEIGHTS, inside, read_json_inside
from asr.hmm.topology import Topology
from asr.lm.load import load_language_model, with_words
from asr.lm.protocol import LanguageModel
from asr.lm.vocabulary import EOS, UNK
from asr.model import CTC, HMM, HYBRID
from asr.search.beam import beam_search
from asr.search.greedy import greedy_search
from asr.search.hmm_beam import hmm_beam_search
from asr.search.lexicon_tree import make_lexicon_tree
from asr.search.nbest import Hypothesis
from asr.search.phrases import PhraseBoosts
from asr.search.rescore import (
    RescoreWeights,
    exact_log_probs,
    lm_log_probs,
    merged,
    rescore,
    spelled,
)
from asr.search.space import BeamSettings, SearchSpace
from asr.text.lexicon import read_words
from asr.text.normalisation import Case, in_case
from asr.text.tokenizer import Tokenizer

DECODING = "decoding.json"
"""What a model's folder calls its settings."""

DecoderName = Literal["greedy", "beam", "flashlight"]
"""Best path, our prefix beam search, or flashlight-text's."""

LMPrecision = Literal["float32", "bfloat16"]
"""Of a network."""

UNTUNED = BeamSettings(lm_weight=0.7, word_bonus=1.0)
"""For CTC and a language model whose weights nobody has tuned."""

_UNTUNED_HMM = BeamSettings(beam_width=200, score_floor=-200.0, lm_weight=8.0, word_bonus=-5.0)

UNTUNED_OF = {CTC: UNTUNED, HMM: _UNTUNED_HMM, HYBRID: _UNTUNED_HMM}
"""Likewise for each kind of model."""

BATCH = 64
"""Utterances searched at once, at most."""

BATCH_PREFIXES = 64_000
"""Prefixes of all utterances searched at once, at most."""

MAX_RESCORERS = 16
"""Language models, at most, that re-order what a search found."""


@dataclass(frozen=True)
class DecoderSettings:
    """How log-probabilities become text.

    Args:
        decoder: the kind of search.
        beam: of the beam search.
        lm: path of the language model that the search goes by; empty for none.
        lexicon: path of the words that may be said: a word a line, or a pronouncing dictionary.
            Empty for those of the acoustic model's own lexicon or else of `lm`, if it has words.
        rescorers: paths of the language models that re-order what the search found.
        lm_weights: of the rescorers, one each.
        word_bonus: nats a word, of the rescoring.
        lm_precision: what recurrent language models compute in, search and rescoring alike.
            bfloat16 takes half the time where the processor knows it; log-probabilities of
            sentences then are off by about 0.1.
    """

    decoder: DecoderName = "greedy"
    beam: BeamSettings = field(default_factory=BeamSettings)
    lm: str = ""
    lexicon: str = ""
    rescorers: tuple[str, ...] = ()
    lm_weights: tuple[float, ...] = ()
    word_bonus: float = 0.0
    lm_precision: LMPrecision = "float32"

    def __post_init__(self) -> None:
        if len(self.rescorers) != len(self.lm_weights):
            raise InputError(
                f"lm_weights has {len(self.lm_weights)} numbers; expected one for each of the"
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
        given = {"lm": self.lm, "lexicon": self.lexicon, "rescorers": self.rescorers}
        refuse_greedy(self.decoder, given)


def default_decoder(tokenizer: Tokenizer) -> DecoderName:
    """Best path; but a beam search where it takes a lexicon to make words of tokens."""
    return "beam" if tokenizer.words else "greedy"


def refuse_greedy(decoder: str, given: Mapping[str, object]) -> None:
    """Refuse what best path, which goes by log_probs alone, can't go by.

    Args:
        decoder: of the settings or the command line.
        given: by name, as the user knows it; None, "" and the like are not given.

    Raises:
        InputError: the decoder is greedy, and something is given.
    """
    names = ", ".join(name for name, value in given.items() if value)
    if decoder == "greedy" and names:
        raise InputError(
            f"decoder is greedy, which goes by log_probs alone; expected beam or flashlight with"
            f" {names}"
        )


class Search(NamedTuple):
    """How models of a kind are searched.

    Args:
        run: a batch, its lengths and the space -> n-best lists.
        by_text: an utterance's log_probs and n-best list -> the list with each text once, with its
            exact log-probability or, of an HMM, a bound.
    """

    run: Callable[[Tensor, Tensor, SearchSpace], list[list[Hypothesis]]]
    by_text: Callable[[Tensor | np.ndarray, Sequence[Hypothesis]], list[Hypothesis]]


BEAM = Search(beam_search, exact_log_probs)
"""CTC's, and of best path what comes after it."""


def search_of(decoder: DecoderName, topology: Topology | None = None) -> Search:
    """The search that a decoder is called by.

    Args:
        decoder: its name.
        topology: of an HMM; None for CTC.

    Raises:
        InputError: an HMM has no such search.
    """
    if topology is not None:
        if decoder != "beam":
            raise InputError(f"decoder is {decoder}; expected beam with an HMM")
        run = partial(hmm_beam_search, topology=topology)
        return Search(run, lambda _, nbest: merged(nbest))
    if decoder == "flashlight":
        from asr.search.flashlight import flashlight_search

        return Search(flashlight_search, exact_log_probs)
    return BEAM


@dataclass(frozen=True)
class Decoder:
    """Settings with all that they name, loaded.

    Args:
        settings: paths as they are seen from here.
        tokenizer: the acoustic model's.
        device: of the language models and the search.
        space: what a beam search goes by; None where search is greedy.
        rescorers: the language models that re-order what it found.
        search: how the model is searched, where search is not greedy.
    """

    settings: DecoderSettings
    tokenizer: Tokenizer
    device: torch.device
    space: SearchSpace | None = None
    rescorers: tuple[LanguageModel, ...] = ()
    search: Search = BEAM

    @classmethod
    def load(
        cls,
        settings: DecoderSettings,
        tokenizer: Tokenizer,
        device: str | torch.device = "cpu",
        phrases: Mapping[str, float] | None = None,
        topology: Topology | None = None,
    ) -> "Decoder":
        """Read what the settings name.

        Args:
            settings: paths as they are seen from here.
            tokenizer: the acoustic model's.
            device: of the language models and the search.
            phrases: likely to be said, with the nats that each of their tokens is worth; see
                `make_boosts`. Their words are allowed besides those of the lexicon.
            topology: of an HMM.

        Raises:
            InputError: a file or a phrase can't be used, or does not fit the tokens; or the decoder
                is none for an HMM.
        """
        device = torch.device(device)
        search = search_of(settings.decoder, topology)
        if settings.decoder == "greedy":
            return cls(settings, tokenizer, device)
        case = tokenizer.case  # whatever case files have, theirs are the model's words
        phrases = {in_case(phrase, case): nats for phrase, nats in (phrases or {}).items()}
        boosts = make_boosts(phrases, tokenizer) if phrases else None
        extra = [word for phrase in phrases for word in phrase.split()]
        words: list[str] = []
        if settings.lexicon:
            words = [*(in_case(word, case) for word in read_words(settings.lexicon)), *extra]
        elif tokenizer.words:
            words = [*tokenizer.words, *extra]
        lm = _load_lm(settings.lm, settings, device, words, case) if settings.lm else None
        if lm is not None and lm.vocabulary.unit == "word" and not words:
            words = [s for n, s in enumerate(lm.vocabulary.symbols) if n not in (UNK, EOS)] + extra
        if lm is not None and settings.decoder != "flashlight":
            lm = with_words(lm, words)
        place = settings.lexicon or settings.lm or "the model's lexicon"
        trie = make_lexicon_tree(words, tokenizer, place) if words else None
        try:
            space = SearchSpace(tokenizer, settings.beam, trie, lm, boosts)
        except InputError as error:
            raise InputError(f"{settings.lm}: {error}" if settings.lm else str(error)) from None
        loaded = (_load_lm(path, settings, device, words, case) for path in settings.rescorers)
        rescorers = tuple(with_words(rescorer, words) for rescorer in loaded)
        return cls(settings, tokenizer, device, space, rescorers, search)

    def weighted(self, settings: DecoderSettings) -> "Decoder":
        """The same with other weights; what the settings name must be the same."""
        space = self.space and replace(self.space, settings=settings.beam)
        return replace(self, settings=settings, space=space)

    def nbests(self, log_probs: Sequence[Tensor | np.ndarray]) -> list[list[Hypothesis]]:
        """The n-best list of each utterance, (T, C) or (T, S), best first, with its words.

        Raises:
            ValueError: a log-probability is NaN or infinite upwards.
        """
        if self.space is None:
            return [spelled([greedy_search(rows)], self.tokenizer) for rows in log_probs]
        nbests = search_all(log_probs, self.space, self.device, self.search.run)
        if not self.rescorers:
            return nbests
        nbests = self.by_text(log_probs, nbests)
        weights = RescoreWeights(self.settings.lm_weights, self.settings.word_bonus)
        scores = lm_log_probs(nbests, self.rescorers)
        return [rescore(n, s, weights) for n, s in zip(nbests, scores, strict=True)]

    def by_text(
        self, log_probs: Sequence[Tensor | np.ndarray], nbests: Sequence[Sequence[Hypothesis]]
    ) -> list[list[Hypothesis]]:
        """The lists with each text once, with its exact log-probability or, of an HMM, a bound."""
        return [self.search.by_text(r, n) for r, n in zip(log_probs, nbests, strict=True)]


def _load_lm(
    path: str, settings: DecoderSettings, device: torch.device, words: Sequence[str], case: Case
) -> LanguageModel:
    lm = load_language_model(path, device, words, case)
    if isinstance(lm, torch.nn.Module) and settings.lm_precision == "bfloat16":
        lm.bfloat16()
    return lm


def search_all(
    log_probs: Sequence[Tensor | np.ndarray],
    space: SearchSpace,
    device: torch.device,
    run: Callable[[Tensor, Tensor, SearchSpace], list[list[Hypothesis]]] = beam_search,
) -> list[list[Hypothesis]]:
    """The n-best lists of many utterances, in their order, with their words.

    Args:
        log_probs: of each utterance (T, C), natural logs; or an HMM's emissions, (T, S).
        space: how far to look, and what to go by besides.
        device: where to search.
        run: the search; see `Search`.
    """
    nbests: list[list[Hypothesis]] = [[] for _ in log_probs]
    # those of about the same length together, long ones first
    order = sorted(range(len(log_probs)), key=lambda n: -len(log_probs[n]))
    size = min(BATCH, max(1, BATCH_PREFIXES // space.settings.beam_width))
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        rows = [torch.as_tensor(log_probs[n]).to(device) for n in batch]
        lengths = torch.tensor([len(row) for row in rows])
        for n, nbest in zip(batch, run(pad_sequence(rows), lengths, space), strict=True):
            # where a lexicon leaves nothing that the frames could say, nothing was said
            nbests[n] = spelled(nbest or [Hypothesis((), -math.inf)], space.tokenizer)
    return nbests


def make_boosts(phrases: Mapping[str, float], tokenizer: Tokenizer) -> PhraseBoosts:
    """The boosts of phrases, in all pronunciations; of phrases that sound alike the highest counts.

    Args:
        phrases: with the nats that each of their tokens is worth.
        tokenizer: of the acoustic model.

    Raises:
        InputError: a phrase has no word, or one that the tokens can't spell, or its boost is no
            number.
    """
    boosts: dict[tuple[int, ...], float] = {}
    for phrase, nats in phrases.items():
        words = phrase.split()
        if not words:
            raise InputError(f"phrase {phrase!r}: has no word; expected one or more")
        if not math.isfinite(nats):
            raise InputError(f"phrase {phrase!r}: its boost is {nats}; expected nats")
        for tokens in tokenizer.spellings(" ".join(words), f"phrase {phrase!r}"):
            boosts[tokens] = max(nats, boosts.get(tokens, -math.inf))
    return PhraseBoosts.build(boosts, tokenizer.separator, len(tokenizer.symbols))


def save_decoding(folder: str | Path, settings: DecoderSettings) -> None:
    """Write `decoding.json` into a model's folder, and copy there all that it names."""
    folder = Path(folder)
    roles = {path: f"rescorer-{n}" for n, path in enumerate(settings.rescorers, 1)}
    roles |= {settings.lm: "lm", settings.lexicon: "lexicon"}
    copied = {path: _copy(Path(path), folder, role) for path, role in roles.items() if path}
    values = asdict(_moved(settings, copied))
    for name in ("token_floor", "score_floor"):
        if values["beam"][name] == -math.inf:
            values["beam"][name] = "-.inf"  # as YAML has it, which is how settings are read
    write_json(folder / DECODING, values)


def load_decoding(folder: str | Path) -> DecoderSettings | None:
    """The settings of a model's folder, with paths as they are seen from here; None without any.

    Raises:
        InputError: the file can't be used, or names one outside the folder.
    """
    path = Path(folder) / DECODING
    if not os.path.lexists(path):
        return None
    values = read_json_inside(folder, DECODING, "settings of decoding")
    settings = from_dict(DecoderSettings, values, str(path))
    try:
        return _moved(settings, {name: str(inside(folder, name)) for name in _paths(settings)})
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _paths(settings: DecoderSettings) -> list[str]:
    return [path for path in (settings.lm, settings.lexicon, *settings.rescorers) if path]


def _moved(settings: DecoderSettings, to: Mapping[str, str]) -> DecoderSettings:
    return replace(
        settings,
        lm=to.get(settings.lm, ""),
        lexicon=to.get(settings.lexicon, ""),
        rescorers=tuple(to[path] for path in settings.rescorers),
    )


def _copy(source: Path, folder: Path, role: str) -> str:
    """Copy a file, or a language model's folder without its checkpoints and the like."""
    name = f"decoding/{role}{source.suffix if source.is_file() else ''}"
    target = folder / name
    if source.resolve() == target.resolve():
        return name
    files = {source: target}
    if source.is_dir():
        files = {source / part: target / part for part in (DESCRIPTION, WEIGHTS)}
    for here, there in files.items():
        there.parent.mkdir(parents=True, exist_ok=True)
        # another program may have the old one mapped into memory
        with replacing(there) as partial:
            shutil.copyfile(here, partial)
    return name
