"""A tagger with planted answers, for tests of what uses one."""

from pathlib import Path

import torch

from asr.networks.tagger import Tagger, TaggerSettings
from asr.text.punctuation import MARKS
from asr.transcribing.punctuation import Punctuation, save_punctuation

SIZES = TaggerSettings(embedding_size=4, n_buckets=16, hidden_size=4, n_layers=1)


def full_stops(spellings: dict[str, str] | None = None) -> Punctuation:
    """A tagger that ends a sentence after every word: "a b" becomes "A. B."."""
    tagger = Tagger(["a", "b"], SIZES).eval()
    with torch.no_grad():
        tagger.output.weight.zero_()
        tagger.output.bias.zero_()
        tagger.output.bias[MARKS.index(".")] = 5.0
    return Punctuation(tagger, spellings or {}, {"train": "novels.txt", "words": 2})


def save_full_stops(model: Path) -> None:
    """Give an acoustic model's folder that tagger."""
    save_punctuation(model / "punctuation", full_stops())
