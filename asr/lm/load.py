"""path <-> language model; extension of a model by the words of a lexicon."""

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
from asr.errors import InputError, shortened
from asr.files import naming_lack_of_memory
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
"""The first bytes of a binary KenLM file."""


def save_rnnlm(
    folder: str | Path, model: RNNLM, trained_on: dict[str, Any], half: bool = False
) -> None:
    """Write a recurrent language model's folder; other files in it stay.

    Args:
        folder: created if it doesn't exist.
        model: the trained model.
        trained_on: a description of the training, as plain values.
        half: see `asr.folder.write_folder`.
    """
    description = {
        "kind": "rnnlm",
        "model": asdict(model.settings),
        "vocabulary": model.vocabulary.to_dict(),
        "trained_on": trained_on,
    }
    write_folder(folder, description, model.state_dict(), half)


def load_language_model(
    path: str | Path,
    device: str | torch.device = "cpu",
    words: Iterable[str] = (),
    case: Case = "keep",
) -> LanguageModel:
    """Load a language model from a folder or a file.

    Args:
        path: a folder written by a recipe, an ARPA file, or a KenLM file.
        device: device of the model and its states; a KenLM model computes on the CPU, with its
            states on this device.
        words: the words that a KenLM file will be asked for, because it can't list its words.
        case: case of the texts to score. The model's words are converted to this case if possible;
            see `Vocabulary.in_case`.

    Raises:
        InputError: the path holds no language model, or a damaged one.
    """
    with naming_lack_of_memory(path):
        model = _loaded(path, device, words)
    vocabulary = model.vocabulary.in_case(case)
    if isinstance(model, NgramModel):
        return replace(model, vocabulary=vocabulary)
    model.vocabulary = vocabulary
    return model


def with_words(lm: LanguageModel, words: Iterable[str]) -> LanguageModel:
    """Extend a language model of words to all words of a lexicon.

    The model's `<unk>` stands for all out-of-vocabulary words together. A search or an n-best list
    has only the words of its lexicon. So the probability of `<unk>` is divided equally among those
    that the model does not know. Otherwise each of them would have the whole probability of
    `<unk>`, often more than that of a rare word that the model knows.

    Args:
        lm: any language model. It is returned unchanged if its units are not words, or if it knows
            all words.
        words: the words of the lexicon.
    """
    if lm.vocabulary.unit != "word":
        return lm
    known = set(lm.vocabulary.symbols)
    new = [word for word in dict.fromkeys(words) if word not in known]
    return ExtendedVocabularyLM(lm, new) if new else lm


class ExtendedVocabularyLM:
    """A language model that divides the probability of `<unk>` among additional words.

    The model's own units keep their numbers, and `<unk>` keeps its probability. So the sum over all
    units exceeds 1 by the probability of `<unk>`. This doesn't matter for texts without `<unk>`.

    Args:
        lm: a language model of words.
        words: one or more words that it does not know, each once.
    """

    def __init__(self, lm: LanguageModel, words: Sequence[str]) -> None:
        self.lm = lm
        self.n_known = len(lm.vocabulary.symbols)
        self.share = -math.log(len(words))
        self.added = range(self.n_known, self.n_known + len(words))
        self._words = tuple(words)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The model's own units, followed by the additional words."""
        own = self.lm.vocabulary
        return replace(own, symbols=(*own.symbols, *self._words))

    def start(self, rows: int) -> Tensor:
        """(rows, ...): the state at the start of a sentence, for each hypothesis."""
        return self.lm.start(rows)

    def score(self, state: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        """(rows,): natural log-probabilities of the next units; and the new states."""
        new = units >= self.n_known
        log_probs, after = self.lm.score(state, units.masked_fill(new, UNK))
        return torch.where(new, log_probs + self.share, log_probs), after

    def log_probs(self, state: Tensor) -> Tensor:
        """(rows, V + words): natural log-probabilities of all next units."""
        own = self.lm.log_probs(state)
        new = own[:, UNK, None] + self.share
        return torch.cat((own, new.expand(-1, len(self._words))), 1)

    def sentence_log_probs(self, sentences: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """For each sentence, (U + 1,): natural log-probabilities of its units and of its end."""
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
    if not Path(path).exists():
        raise InputError(f"{path}: does not exist; expected a language model's folder or file")
    if not Path(path).is_file() and not Path(path).is_dir():
        raise InputError(f"{path}: is not a regular file; expected a language model")
    if Path(path).is_file():
        with Path(path).open("rb") as file:
            is_kenlm = file.read(len(KENLM_MAGIC)) == KENLM_MAGIC
        return KenlmModel(path, words, device) if is_kenlm else read_ngram(path).to(device)
    values = read_description(path, "a language model's folder or file")
    if "features" in values:
        raise InputError(f"{path}: is an acoustic model's folder; expected a language model")
    match values.get("kind"):
        case "rnnlm":
            return _load_rnnlm(path, values).to(device)
        case "ngram":
            return load_ngram(path).to(device)
    found = shortened(values["kind"]) if "kind" in values else "missing"
    raise InputError(f"{Path(path) / DESCRIPTION}: kind is {found}; expected rnnlm or ngram")


def load_lm(
    path: str | Path, device: str | torch.device = "cpu", words: Iterable[str] = ()
) -> LanguageModel:
    """Load a language model of any kind, for scoring texts, search or `asr.perplexity`.

    >>> lm = asr.load_lm("4gram.arpa")
    >>> lm.log_prob("three five")

    Args:
        path: a folder written by a recipe, an ARPA file, or a KenLM file.
        device: device of the model.
        words: the words that a KenLM file will be asked for, because it can't list its words; all
            others count as unknown.

    Raises:
        InputError: the path holds no language model, or a damaged one; or no words are given for a
            KenLM file.
    """
    return load_language_model(path, device, words)


def _load_rnnlm(folder: str | Path, values: dict[str, Any]) -> RNNLM:
    check_parts(folder, values, ("model", "vocabulary", "trained_on"))
    place = f"{Path(folder) / DESCRIPTION}"
    settings = from_dict(RNNLMSettings, values["model"], f"{place}: model")
    vocabulary = vocabulary_from_dict(values["vocabulary"], f"{place}: vocabulary")
    with torch.device("meta"):  # shapes without memory, until the weights are known to fit
        try:
            model = RNNLM(vocabulary, settings)
        except InputError as error:
            raise InputError(f"{place}: model: {error}") from None
    model.load_state_dict(read_weights(folder, model.state_dict()), assign=True)
    return model.eval()
