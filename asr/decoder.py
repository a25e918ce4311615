"""log_probs or emissions -> nbest and text, by search and language models that a folder names."""

import json
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import chain, product
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr.config import from_dict
from asr.errors import InputError
from asr.folder import DESCRIPTION, WEIGHTS
from asr.hmm.topology import Topology
from asr.lm.load import load_language_model, with_words
from asr.lm.protocol import LanguageModel
from asr.lm.vocabulary import EOS, UNK
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
from asr.text.tokenizer import PhoneTokenizer, Tokenizer, text_case

DECODING = "decoding.json"
"""What a model's folder calls its settings."""

DecoderName = Literal["greedy", "beam", "flashlight"]
"""Best path, our prefix beam search, or flashlight-text's."""

LMPrecision = Literal["float32", "bfloat16"]
"""Of a network."""

UNTUNED = BeamSettings(lm_weight=0.7, word_bonus=1.0)
"""For a language model whose weights nobody has tuned."""

UNTUNED_HMM = BeamSettings(beam_width=200, score_floor=-200.0, lm_weight=8.0, word_bonus=-5.0)
"""Likewise for an HMM, whose emissions weigh more: neighbouring frames count as independent."""

BATCH = 64
"""Utterances searched at once."""


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
        if not all(map(math.isfinite, (*self.lm_weights, self.word_bonus))):
            raise InputError(
                f"lm_weights is {list(self.lm_weights)}, word_bonus {self.word_bonus}; expected"
                " numbers"
            )
        if self.decoder == "greedy" and (self.lm or self.lexicon or self.rescorers):
            raise InputError("decoder is greedy, which goes by no language model; expected beam")


@dataclass(frozen=True)
class Decoder:
    """Settings with all that they name, loaded.

    Args:
        settings: paths as they are seen from here.
        tokenizer: the acoustic model's.
        device: of the language models and the search.
        space: what a beam search goes by; None where search is greedy.
        rescorers: the language models that re-order what it found.
        topology: of an HMM, whose emissions are searched; None for CTC.
    """

    settings: DecoderSettings
    tokenizer: Tokenizer
    device: torch.device
    space: SearchSpace | None = None
    rescorers: tuple[LanguageModel, ...] = ()
    topology: Topology | None = None

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
        if topology is not None and settings.decoder != "beam":
            raise InputError(f"decoder is {settings.decoder}; expected beam with an HMM")
        if settings.decoder == "greedy":
            return cls(settings, tokenizer, device)
        case = text_case(tokenizer)  # whatever case files have, theirs are the model's words
        phrases = {in_case(phrase, case): nats for phrase, nats in (phrases or {}).items()}
        boosts = make_boosts(phrases, tokenizer) if phrases else None
        extra = [word for phrase in phrases for word in phrase.split()]
        words: list[str] = []
        if settings.lexicon:
            words = [*(in_case(word, case) for word in read_words(settings.lexicon)), *extra]
        elif isinstance(tokenizer, PhoneTokenizer):
            words = [*tokenizer.lexicon.pronunciations, *extra]
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
        return cls(settings, tokenizer, device, space, rescorers, topology)

    def weighted(self, settings: DecoderSettings) -> "Decoder":
        """The same with other weights; what the settings name must be the same."""
        space = self.space and replace(self.space, settings=settings.beam)
        return replace(self, settings=settings, space=space)

    def nbests(self, log_probs: Sequence[Tensor | np.ndarray]) -> list[list[Hypothesis]]:
        """The n-best list of each utterance, (T, C) or (T, S), best first, with its words."""
        if self.space is None:
            return [spelled([greedy_search(rows)], self.tokenizer) for rows in log_probs]
        search = self.settings.decoder if self.topology is None else self.topology
        nbests = search_all(log_probs, self.space, self.device, search)
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
        if self.topology is not None:
            return [merged(nbest) for nbest in nbests]
        return [exact_log_probs(r, n) for r, n in zip(log_probs, nbests, strict=True)]


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
    search: str | Topology = "beam",
) -> list[list[Hypothesis]]:
    """The n-best lists of many utterances, in their order, with their words.

    Args:
        log_probs: of each utterance (T, C), natural logs; or an HMM's emissions, (T, S).
        space: how far to look, and what to go by besides.
        device: where to search.
        search: beam, or flashlight for flashlight-text's; or an HMM's topology.
    """
    nbests: list[list[Hypothesis]] = [[] for _ in log_probs]
    run = _search(search)
    # those of about the same length together, long ones first
    order = sorted(range(len(log_probs)), key=lambda n: -len(log_probs[n]))
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        rows = [torch.as_tensor(log_probs[n]).to(device) for n in batch]
        lengths = torch.tensor([len(row) for row in rows])
        for n, nbest in zip(batch, run(pad_sequence(rows), lengths, space), strict=True):
            # where a lexicon leaves nothing that the frames could say, nothing was said
            nbests[n] = spelled(nbest or [Hypothesis((), -math.inf)], space.tokenizer)
    return nbests


def _search(search: str | Topology) -> Callable[..., list[list[Hypothesis]]]:
    if isinstance(search, Topology):
        return partial(hmm_beam_search, topology=search)
    if search == "flashlight":
        from asr.search.flashlight import flashlight_search

        return flashlight_search
    return beam_search


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
        spoken = [tokenizer.encode(" ".join(words), f"phrase {phrase!r}")]
        if isinstance(tokenizer, PhoneTokenizer):
            ways = product(*map(tokenizer.pronunciations, words))
            spoken = [tuple(chain.from_iterable(way)) for way in ways]
        for tokens in spoken:
            boosts[tokens] = max(nats, boosts.get(tokens, -math.inf))
    return PhraseBoosts.build(boosts, tokenizer.separator, len(tokenizer.symbols))


def save_decoding(folder: str | Path, settings: DecoderSettings) -> None:
    """Write `decoding.json` into a model's folder, and copy there all that it names."""
    folder = Path(folder)
    roles = {path: f"rescorer-{n}" for n, path in enumerate(settings.rescorers, 1)}
    roles |= {settings.lm: "lm", settings.lexicon: "lexicon"}
    copied = {path: _copy(Path(path), folder, role) for path, role in roles.items() if path}
    values = asdict(_moved(settings, copied))
    partial = folder / (DECODING + ".partial")
    partial.write_text(json.dumps(values, indent=1) + "\n", "utf-8")
    os.replace(partial, folder / DECODING)


def load_decoding(folder: str | Path) -> DecoderSettings | None:
    """The settings of a model's folder, with paths as they are seen from here; None without any.

    Raises:
        InputError: the file can't be used.
    """
    path = Path(folder) / DECODING
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: is not JSON ({error}); expected settings of decoding") from None
    settings = from_dict(DecoderSettings, values, str(path))
    return _moved(settings, {name: str(Path(folder) / name) for name in _paths(settings)})


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
        partial = there.with_name(there.name + ".partial")
        shutil.copyfile(here, partial)
        os.replace(partial, there)  # another program may have the old one mapped into memory
    return name
