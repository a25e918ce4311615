"""A path -> the language model that lies there; a recurrent one -> its folder."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

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
from asr.lm.rnnlm import RNNLM, RNNLMSettings
from asr.lm.vocabulary import LanguageModel, vocabulary_from_dict
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


def _loaded(
    path: str | Path, device: str | torch.device, words: Iterable[str]
) -> NgramModel | KenlmModel | RNNLM:
    if Path(path).exists() and not Path(path).is_file() and not Path(path).is_dir():
        raise InputError(f"{path}: is no regular file; expected a language model")
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
        f"{Path(path) / DESCRIPTION}: kind is {values['kind']!r:.80}; expected rnnlm or ngram"
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
        try:
            model = RNNLM(vocabulary, settings)
        except InputError as error:
            raise InputError(f"{place}: model: {error}") from None
    model.load_state_dict(read_weights(folder, model.state_dict()), assign=True)
    return model.eval()
