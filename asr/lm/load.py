"""A path -> the language model that lies there, with the words asked for; and its folder."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asr.config import from_dict
from asr.errors import InputError
from asr.folder import (
    DESCRIPTION,
    check_parts,
    read_description,
    read_weights,
    write_folder,
)
from asr.lm.kenlm import KenlmModel
from asr.lm.ngram import NgramModel, load_ngram, read_ngram
from asr.lm.protocol import LanguageModel, text_log_prob
from asr.lm.rnnlm import RNNLM, RNNLMSettings
from asr.lm.vocabulary import UNK, Vocabulary, vocabulary_from_dict
from asr.text.normalisation import Case

KENLM_MAGIC = b"mmap lm http://kheafield.com/code"
"""What KenLM's binary files begin with."""


def save_rnnlm(folder: str | Path, model: RNNLM, trained_on: dict[str, Any]) -> None:
    """Write a recurrent language model's folder; what else is in it stays.

    Args:
        folder: made where it is not there.
        model: trained.
        trained_on: what is known of the training, as plain values.
    """
    description = {
        "kind": "rnnlm",
        "model": asdict(model.settings),
        "vocabulary": model.vocabulary.to_dict(),
        "trained_on": trained_on,
    }
    write_folder(folder, description, model.state_dict())


def load_language_model(
    path: str | Path,
    device: str | torch.device = "cpu",
    words: Iterable[str] = (),
    case: Case = "keep",
) -> LanguageModel:
    """The language model of a folder or file, ready to be asked.

    Args:
        path: a folder that a recipe wrote, an ARPA file, or a KenLM file.
        device: where the model computes, but for a KenLM file's; its states are there, too.
        words: what a model that can't list its words will be asked for.
        case: of the texts that it will be asked for: its words are brought to it where it can; see
            `Vocabulary.in_case`.

    Raises:
        InputError: there is no language model, or one that is damaged.
    """
    model = _loaded(path, device, words)
    vocabulary = model.vocabulary.in_case(case)
    if isinstance(model, NgramModel):
        return replace(model, vocabulary=vocabulary)
    model.vocabulary = vocabulary
    return model


def with_words(lm: LanguageModel, words: Iterable[str]) -> LanguageModel:
    """The model of words with a unit for each of the words that may be asked for.

    Its `<unk>` stands for all unknown words together. A search among words, or a list that it gave,
    has only those of its lexicon; each of them that the model does not know has an equal share, so
    that a rare word that the model does know is not beaten by all that it has never seen.

    Args:
        lm: any; one whose units are not words is given back, and so is one that knows all.
        words: of the lexicon.
    """
    if lm.vocabulary.unit != "word":
        return lm
    known = set(lm.vocabulary.symbols)
    new = [word for word in dict.fromkeys(words) if word not in known]
    return ExtendedVocabularyLM(lm, new) if new else lm


class ExtendedVocabularyLM:
    """A language model that shares its `<unk>` out among more words.

    Its own units keep their numbers and `<unk>` its probability: the sum over all units is more
    than 1 by that, which no text has a part in where all words are known.

    Args:
        lm: of words.
        words: that it does not know, each once; at least one.
    """

    def __init__(self, lm: LanguageModel, words: Sequence[str]) -> None:
        self.lm = lm
        self.n_known = len(lm.vocabulary.symbols)
        self.share = -math.log(len(words))
        self._words = tuple(words)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The model's own units, then the words."""
        own = self.lm.vocabulary
        return replace(own, symbols=(*own.symbols, *self._words))

    def start(self, rows: int) -> Tensor:
        """(rows, ...): the state at a sentence's beginning."""
        return self.lm.start(rows)

    def score(self, state: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        """(rows,) natural log-probabilities of the next units, and the states after."""
        new = units >= self.n_known
        log_probs, after = self.lm.score(state, units.masked_fill(new, UNK))
        return torch.where(new, log_probs + self.share, log_probs), after

    def log_probs(self, state: Tensor) -> Tensor:
        """(rows, V + words): the natural log-probability of every next unit."""
        own = self.lm.log_probs(state)
        new = own[:, UNK, None] + self.share
        return torch.cat((own, new.expand(-1, len(self._words))), 1)

    def sentence_log_probs(self, sentences: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """For each sentence (U + 1,) natural log-probabilities: of its units, then of its end."""
        new = [np.array([*sentence, UNK]) >= self.n_known for sentence in sentences]
        own = [
            np.where(where[:-1], UNK, sentence).tolist()
            for where, sentence in zip(new, sentences, strict=True)
        ]
        found = self.lm.sentence_log_probs(own)
        return [log_probs + self.share * where for log_probs, where in zip(found, new, strict=True)]

    def log_prob(self, text: str) -> float:
        """The natural log-probability of a sentence with its end; see `text_log_prob`."""
        return text_log_prob(self, text)


def _loaded(
    path: str | Path, device: str | torch.device, words: Iterable[str]
) -> NgramModel | KenlmModel | RNNLM:
    if Path(path).is_file():
        with Path(path).open("rb") as file:
            is_kenlm = file.read(len(KENLM_MAGIC)) == KENLM_MAGIC
        return KenlmModel(path, words, device) if is_kenlm else read_ngram(path).to(device)
    values = read_description(path)
    match values.get("kind"):
        case "rnnlm":
            return _load_rnnlm(path, values).to(device)
        case "ngram":
            return load_ngram(path).to(device)
        case None:
            raise InputError(f"{path}: is an acoustic model's folder; expected a language model")
    raise InputError(
        f"{Path(path) / DESCRIPTION}: kind is {values['kind']!r}; expected rnnlm or ngram"
    )


def load_lm(
    path: str | Path, device: str | torch.device = "cpu", words: Iterable[str] = ()
) -> LanguageModel:
    """A language model of any kind, to score texts, search, or measure with `asr.perplexity`.

    >>> lm = asr.load_lm("4gram.arpa")
    >>> lm.log_prob("three five")

    Args:
        path: a folder that a recipe wrote, an ARPA file, or a KenLM file.
        device: where the model computes.
        words: those that a KenLM file will be asked for, which can't list its own; all others
            count as unknown.

    Raises:
        InputError: there is no language model, or one that is damaged; or no words for a KenLM
            file.
    """
    return load_language_model(path, device, words)


def _load_rnnlm(folder: str | Path, values: dict[str, Any]) -> RNNLM:
    check_parts(folder, values, ("model", "vocabulary", "trained_on"))
    place = f"{Path(folder) / DESCRIPTION}"
    settings = from_dict(RNNLMSettings, values["model"], f"{place}: model")
    vocabulary = vocabulary_from_dict(values["vocabulary"], f"{place}: vocabulary")
    with torch.device("meta"):  # shapes alone, until the weights are known to fit them
        model = RNNLM(vocabulary, settings)
    model.load_state_dict(read_weights(folder, model.state_dict()), assign=True)
    return model.eval()
