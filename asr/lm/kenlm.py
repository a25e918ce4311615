"""words -> log-probabilities of the next words, from a KenLM file."""

import math
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asr.errors import InputError
from asr.lm.protocol import text_log_prob
from asr.lm.vocabulary import EOS_SYMBOL, UNK_SYMBOL, Vocabulary
from asr.text.normalisation import DEFAULT, Case, TextSettings, in_case, lower_case

CASES: tuple[Case, ...] = ("lower", "keep", "upper")
"""Cases in which words are looked up. If several give as many known words, the first is used."""

_BEGIN = -1  # used in a state in place of a word, before the start of the sentence
_LN10 = math.log(10)


class KenlmModel:
    """A binary KenLM file or an ARPA file, read by KenLM: exact, but slow.

    The state is the last `order - 1` words. A binary file can't list its words, so the caller has
    to give them.

    Attributes:
        path: path of the file.
        spellings: (V,), the words as spelled in the file.

    Args:
        path: path of the file.
        words: the words that may be asked for, in canonical form; words that the file does not
            know count as `<unk>`. They are looked up in lower case, as given and in upper case;
            the case with the most known words is used. A word is also found if the file has it in
            decomposed Unicode or with curly apostrophes.
        device: device of the states, for a search there; the model itself computes on the CPU.

    Raises:
        InputError: the package kenlm-ex is not installed; KenLM can't read the file; no words were
            given, or the file knows none of them. Methods raise it if a log-probability is NaN.
        OSError: the file can't be opened.
    """

    def __init__(
        self, path: str | Path, words: Iterable[str], device: str | torch.device = "cpu"
    ) -> None:
        try:
            import kenlm
        except ImportError:
            raise InputError(
                f"{path}: reading it takes KenLM, which is not installed; expected it after:"
                " pip install kenlm-ex"
            ) from None
        with open(path, "rb"):  # KenLM's own error for a missing file is less clear
            pass
        config = kenlm.Config()
        config.show_progress = False
        config.arpa_complain = kenlm.ARPALoadComplain.NONE
        try:
            self._model = kenlm.Model(str(path), config)
        except OSError as error:
            raise InputError(
                f"{path}: is no file of KenLM, or a damaged one: {' '.join(str(error).split())}"
            ) from None
        self._new_state = kenlm.State
        self.path = Path(path)
        self.device = torch.device(device)
        self.order: int = self._model.order
        wanted = [word for word in dict.fromkeys(words) if word not in (UNK_SYMBOL, EOS_SYMBOL)]
        if not wanted:
            raise InputError(
                f"{path}: can't list its words; expected a lexicon, or a text, that has some"
            )
        case, known = self._known(wanted)
        if not known:
            raise InputError(
                f"{path}: knows none of the {len(wanted)} words; expected some of them"
            )
        text = TextSettings(case="keep") if case == "keep" else DEFAULT
        self.vocabulary = Vocabulary("word", (UNK_SYMBOL, EOS_SYMBOL, *known), text)
        self.spellings = ("<unk>", "</s>", *known.values())

    def start(self, rows: int) -> Tensor:
        """(rows, order - 1), int64: the state at the start of a sentence, for each hypothesis."""
        return torch.full((rows, self.order - 1), _BEGIN, device=self.device)

    def score(self, state: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        """(rows,), float32: natural log-probabilities of the next units; and the new states."""
        units = units.to(state.device)
        scores = [
            self._score(self._context(context), unit)
            for context, unit in zip(state.tolist(), units.tolist(), strict=True)
        ]
        after = torch.cat((state, units[:, None]), 1)[:, 1:]
        return torch.tensor(scores, device=state.device), after

    def log_probs(self, state: Tensor) -> Tensor:
        """(rows, V), float32: natural log-probabilities of all next units."""
        contexts = [self._context(context) for context in state.tolist()]
        units = range(len(self.spellings))
        rows = [[self._score(context, unit) for unit in units] for context in contexts]
        return torch.tensor(rows, device=state.device).view(len(rows), len(units))

    def sentence_log_probs(self, sentences: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """For each sentence, (U + 1,): natural log-probabilities of its units and of its end."""
        found = []
        for sentence in sentences:
            text = " ".join(self.spellings[unit] for unit in sentence)
            scores = [score for score, _, _ in self._model.full_scores(text)]
            found.append(np.array(scores, dtype=np.float32) * np.float32(_LN10))
            self._check(float(found[-1].sum()))
        return found

    def log_prob(self, text: str) -> float:
        """The natural log-probability of a sentence with its end; see `text_log_prob`."""
        return text_log_prob(self, text)

    def _known(self, words: Sequence[str]) -> tuple[Case, dict[str, str]]:
        """The case in which the file knows most of the words; and those words' spellings."""
        best: tuple[int, Case, dict[str, str]] = (0, "lower", {})
        for case in CASES:
            spellings = {word: self._spelling(in_case(word, case)) for word in words}
            n_known = len(set(spellings.values()) - {None})
            if n_known > best[0]:
                known: dict[str, str] = {}
                for word, spelling in spellings.items():
                    if spelling is not None:
                        known.setdefault(word if case == "keep" else lower_case(word), spelling)
                best = n_known, case, known
        return best[1:]

    def _spelling(self, word: str) -> str | None:
        """The file's spelling of a word; None if it doesn't know the word."""
        for curly in (word, word.replace("'", "’")):
            for spelling in (curly, unicodedata.normalize("NFD", curly)):
                if spelling in self._model:
                    return spelling
        return None

    def _context(self, units: Sequence[int]) -> Any:
        """KenLM's state after the units."""
        state = self._new_state()
        if _BEGIN in units:
            self._model.BeginSentenceWrite(state)
        else:
            self._model.NullContextWrite(state)
        for unit in units:
            if unit != _BEGIN:
                after = self._new_state()
                self._model.BaseScore(state, self.spellings[unit], after)
                state = after
        return state

    def _score(self, state: Any, unit: int) -> float:
        score = self._model.BaseScore(state, self.spellings[unit], self._new_state()) * _LN10
        self._check(score)
        return score

    def _check(self, score: float) -> None:
        if math.isnan(score):
            raise InputError(f"{self.path}: gives a log-probability that is no number; is damaged")
