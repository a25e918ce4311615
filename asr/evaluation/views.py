"""Models and an utterance -> a picture of how an HMM, hybrids and CTC see it."""

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
from asr.hmm.emissions import HybridEmissions
from asr.hmm.trees import middle_phone
from asr.model import Model
from asr.networks.acoustic import AcousticModel
from asr.recognizer import Recognizer
from asr.text.tokenizer import BLANK

N_MELS = 40
"""Bands of the spectrogram, whatever a model reads."""


def draw_views(
    path: str | Path, utterance: Utterance, hmm: Model, networks: Sequence[Model]
) -> None:
    """Draw the spectrogram, the HMM's path, and the posteriors of hybrids and CTC models.

    Args:
        path: of the PNG file.
        utterance: with its text.
        hmm: whose path is drawn.
        networks: one or more; the spectrogram has the windows of the first.

    Raises:
        InputError: the audio can't be used, or the text can't be aligned with it.
    """
    aligned = align_text(hmm, _hear(hmm, utterance), utterance.text, utterance.duration)
    segments = [unit._replace(label=middle_phone(unit.label)) for unit in aligned.units]
    states = aligned.times, aligned.path, segments
    tracks = [_posteriors(network, utterance) for network in networks]
    draw_alignment(path, utterance.text, _spectrogram(networks[0], utterance), states, tracks)


def _hear(model: Model, utterance: Utterance) -> np.ndarray:
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
    """Of the units that the text is made of, and of silence or blank."""
    log_probs = _hear(model, utterance)
    aligned = align_text(model, log_probs, utterance.text, utterance.duration)
    units = sorted({span.unit for span in aligned.spans} | {SILENT_UNIT})
    if isinstance(model.acoustic, HybridEmissions):
        posteriors = np.exp(log_probs + model.acoustic.log_priors.numpy())
        of_unit = _pdfs(model)
        names = sorted({middle_phone(unit) for unit in units})
        columns = [posteriors[:, sorted(of_unit[name])].sum(1) for name in names]
        return UnitCurves("hybrid", aligned.times, np.stack(columns, 1), names)
    assert isinstance(model.acoustic, AcousticModel)
    number = {symbol: token for token, symbol in enumerate(model.tokenizer.symbols) if token}
    tokens = [number.get(unit, BLANK) for unit in units]
    return UnitCurves("CTC", aligned.times, np.exp(log_probs[:, tokens]), units)


def _pdfs(model: Model) -> dict[str, set[int]]:
    """The pdfs of each phone and of silence."""
    assert model.topology is not None
    found = {SILENT_UNIT: set(model.topology.silence)}
    for symbol, pdfs in zip(model.tokenizer.symbols[1:], model.topology.pdfs[1:], strict=True):
        found.setdefault(middle_phone(symbol), set()).update(pdfs.tolist())
    return found
