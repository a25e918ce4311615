"""Speech recognition from audio files to a measured word error rate.

```text
              audio              features            acoustic              search            rescore           wer
 audio file ────────▶ waveform ──────────▶ features ──────────▶ log_probs ────────▶ nbest ──────────▶ nbest ───────▶ ErrorCounts
   path      (samples,) float32    (T, F) float32   (T, C) natural log   list[Hypothesis]   re-ordered   S, D, I, words
                                       │                                    ▲
                                       └─── gmm ──▶ emissions (T, S) ── hmm_beam
```

`asr.load(folder)` gives a recogniser; each arrow above is a module of that name.
"""  # noqa: E501

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asr.recognizer import load as load

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # torch takes seconds to import: `asr score` and `import asr` alone go without it
    if name == "load":
        from asr.recognizer import load

        return load
    raise AttributeError(f"module 'asr' has no attribute {name!r}")
