"""Models and an utterance -> a picture of HMM alignment, hybrid posteriors and CTC posteriors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from asr.alignment.aligner import align_text
from asr.alignment.times import SILENT_UNIT, frame_times
from asr.audio.features import Features, FeatureSettings
from asr.corpus.manifest import Utterance
from asr.corpus.recordings import load_utterance
from asr.evaluation.picture import UnitCurves, draw_alignment
from asr.hmm.trees import middle_phone
from asr.model import Model
from asr.recognizer import Recognizer
from asr.text.tokenizer import BLANK

N_MELS = 40
"""Number of mel bands of the spectrogram, independent of the models' features."""


def draw_views(
    path: str | Path, utterance: Utterance, hmm: Model, networks: Sequence[Model]
) -> None:
    """Draw the spectrogram, the HMM's alignment, and the posteriors of hybrids and CTC models.

    Args:
        path: path of the PNG file.
        utterance: the utterance with its text.
        hmm: the model whose alignment is drawn.
        networks: one or more models; the spectrogram uses the windows of the first one.

    Raises:
        InputError: the audio can't be used, or the text can't be aligned with it.
    """
    aligned = align_text(hmm, _log_probs(hmm, utterance), utterance.text, utterance.duration)
    segments = [unit._replace(label=middle_phone(unit.label)) for unit in aligned.units]
    states = aligned.times, aligned.path, segments
    tracks = [_posteriors(network, utterance) for network in networks]
    draw_alignment(path, utterance.text, _spectrogram(networks[0], utterance), states, tracks)


def _log_probs(model: Model, utterance: Utterance) -> np.ndarray:
    recognizer = Recognizer(model)
    waveform = load_utterance(utterance, recognizer.sample_rate)
    return recognizer.log_probs(waveform).numpy()


def _spectrogram(model: Model, utterance: Utterance) -> tuple[np.ndarray, np.ndarray]:
    windows = ("sample_rate", "window_ms", "hop_ms")
    settings = FeatureSettings(
        **{name: getattr(model.features.settings, name) for name in windows},
        n_mels=N_MELS,
        normalisation="none",
    )
    waveform = load_utterance(utterance, settings.sample_rate)
    batch = torch.from_numpy(waveform)[None], torch.tensor([len(waveform)])
    energies, _ = Features(settings)(*batch)
    return frame_times(len(energies), settings, utterance.duration), energies[:, 0].numpy()


def _posteriors(model: Model, utterance: Utterance) -> UnitCurves:
    """Posteriors of the units in the text, and of silence or blank."""
    log_probs = _log_probs(model, utterance)
    aligned = align_text(model, log_probs, utterance.text, utterance.duration)
    units = sorted({middle_phone(span.unit) for span in aligned.spans} | {SILENT_UNIT})
    posteriors = np.exp(model.acoustic.log_posteriors(torch.from_numpy(log_probs)).numpy())
    of_unit: dict[str, set[int]] = {}
    for symbol, columns in model.columns:
        of_unit.setdefault(middle_phone(symbol), set()).update(columns)
    curves = [posteriors[:, sorted(of_unit.get(unit, {BLANK}))].sum(1) for unit in units]
    return UnitCurves(model.kind.name, aligned.times, np.stack(curves, 1), units)
