"""Speech recognition from audio files to a measured word error rate.

```text
              audio              networks            search             search.rescore      scoring
 audio file ────────▶ waveform ──────────▶ log_probs ────────▶ nbest ────────────────▶ nbest ────────▶ ErrorCounts
   path      (samples,) float32  features  (T, C) natural log  list[Hypothesis]        same, re-ordered  S, D, I, words
                                  (T, F)                          ▲
                                    └── hmm ──▶ emissions (T, S) ──┘      the HMM baseline joins at the n-best list
```

`asr.load(folder)` returns a recogniser. Each arrow above is a folder of the package. The functions
below are meant for notebooks: they take arrays or tensors, and return tensors.

    load            a trained model -> `transcribe(path or samples)`, `log_probs(waveform)`
    load_audio      file -> waveform
    log_mel, mfcc   waveform -> features
    greedy_search   log_probs -> the most probable alignment's text
    beam_search     log_probs, symbols, words, language model -> n-best list
    ctc_loss        log_probs, targets -> loss
    ctc_align       log_probs, tokens -> alignment
    fit_hmm         features, texts, lexicon -> HMM, to align with
    train_ngram     texts -> language model
    load_lm         file or folder -> language model
    perplexity      language model, texts -> perplexity
    wer, cer        references, hypotheses -> error counts and rate
"""  # noqa: E501

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asr.audio.features import log_mel as log_mel
    from asr.audio.features import mfcc as mfcc
    from asr.audio.waveform import load_audio as load_audio
    from asr.errors import InputError as InputError
    from asr.hmm.fit import fit_hmm as fit_hmm
    from asr.lm.bench.perplexity import perplexity as perplexity
    from asr.lm.estimate import train_ngram as train_ngram
    from asr.lm.load import load_lm as load_lm
    from asr.networks.ctc import ctc_align as ctc_align
    from asr.networks.ctc import ctc_loss as ctc_loss
    from asr.recognizer import load as load
    from asr.scoring.error_rates import cer as cer
    from asr.scoring.error_rates import wer as wer
    from asr.search.greedy import greedy_search as greedy_search
    from asr.search.utterance import beam_search as beam_search

__version__ = "0.1.0"

_MODULES = {
    "InputError": "asr.errors",
    "beam_search": "asr.search.utterance",
    "cer": "asr.scoring.error_rates",
    "ctc_align": "asr.networks.ctc",
    "ctc_loss": "asr.networks.ctc",
    "fit_hmm": "asr.hmm.fit",
    "greedy_search": "asr.search.greedy",
    "load": "asr.recognizer",
    "load_audio": "asr.audio.waveform",
    "load_lm": "asr.lm.load",
    "log_mel": "asr.audio.features",
    "mfcc": "asr.audio.features",
    "perplexity": "asr.lm.bench.perplexity",
    "train_ngram": "asr.lm.estimate",
    "wer": "asr.scoring.error_rates",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    # loaded on first use: torch takes seconds to import, and `asr score` doesn't need it
    if name not in _MODULES:
        raise AttributeError(f"module 'asr' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
