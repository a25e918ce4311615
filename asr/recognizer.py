"""audio file -> Transcript: the whole way."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast, get_args

import numpy as np
import torch

from asr.audio.load import load_audio
from asr.decoding import (
    UNTUNED,
    UNTUNED_HMM,
    DecoderName,
    Decoding,
    DecodingSettings,
    load_decoding,
)
from asr.errors import InputError
from asr.model import Model, check_log_probs, load_model
from asr.search.rescore import text_of
from asr.text.tokenizer import PhoneTokenizer


@dataclass(frozen=True)
class Transcript:
    """What was recognised in one recording.

    Args:
        text: the best hypothesis, as words.
        log_prob: its natural log-probability, as the search gives it.
        duration: of the recording, in seconds.
    """

    text: str
    log_prob: float
    duration: float


class Recognizer:
    """A trained model, ready to transcribe.

    Args:
        model: from `asr.model.load_model`.
        decoding: how its log-probabilities become text; greedy search by default, which an HMM
            has not.
    """

    def __init__(self, model: Model, decoding: Decoding | None = None) -> None:
        self.model = model
        self.device = model.features.mean.device
        self.decoding = decoding or Decoding(DecodingSettings(), model.tokenizer, self.device)

    @property
    def sample_rate(self) -> int:
        """Hz, of the waveforms that `log_probs` takes."""
        return self.model.features.settings.sample_rate

    def transcribe(self, audio: str | Path, channel: int | None = None) -> Transcript:
        """The text of an audio file.

        Args:
            audio: path of a file in any format that soundfile or PyAV reads.
            channel: from 0; None for the mean of all channels.

        Raises:
            InputError: the file can't be used; the message says why.
        """
        waveform = load_audio(audio, self.sample_rate, channel)
        self.check_length(waveform, str(audio))
        log_probs = self.log_probs([waveform])[0]
        check_log_probs(log_probs, str(audio))
        return self.transcript(log_probs, len(waveform))

    def transcribe_waveform(self, waveform: np.ndarray) -> Transcript:
        """The text of (samples,) at the model's rate, at least one window long."""
        return self.transcript(self.log_probs([waveform])[0], len(waveform))

    def transcript(self, log_probs: np.ndarray, samples: int) -> Transcript:
        """The text of the log-probabilities, (T, C), of so many samples."""
        best = self.decoding.nbests([log_probs])[0][0]
        text = text_of(best, self.model.tokenizer)
        return Transcript(text, best.log_prob, samples / self.sample_rate)

    @torch.inference_mode()
    def log_probs(self, waveforms: list[np.ndarray]) -> list[np.ndarray]:
        """Log-probabilities of a batch of waveforms.

        Args:
            waveforms: each (samples,), float32, at the model's rate.

        Returns:
            log_probs: each (T, C), float32; of an HMM emissions, (T, S).

        Raises:
            ValueError: a waveform is shorter than one window.
        """
        lengths = torch.tensor([len(waveform) for waveform in waveforms])
        padded = np.zeros((len(waveforms), int(lengths.max())), dtype=np.float32)
        for row, waveform in zip(padded, waveforms, strict=True):
            row[: len(waveform)] = waveform
        features, input_lengths = self.model.features(
            torch.from_numpy(padded).to(self.device), lengths.to(self.device)
        )
        log_probs, input_lengths = self.model.acoustic(features, input_lengths)
        rows = log_probs.float().cpu().numpy()
        return [rows[:length, n] for n, length in enumerate(input_lengths.tolist())]

    def check_length(self, waveform: np.ndarray, place: str) -> None:
        """Raise InputError where a waveform is shorter than one window; `place` names it."""
        settings = self.model.features.settings
        if len(waveform) < settings.win_length:
            found = 1000 * len(waveform) / settings.sample_rate
            raise InputError(
                f"{place}: has {found:.1f} ms of audio; expected at least one window,"
                f" {settings.window_ms:g} ms"
            )


def load(
    folder: str | Path,
    device: str = "auto",
    decoder: str | None = None,
    lm: str | Path | None = None,
    beam_width: int | None = None,
    phrases: Mapping[str, float] | None = None,
) -> Recognizer:
    """The recogniser of a model's folder.

    What is not given is as the folder's `decoding.json` has it. Without that, search is greedy, or
    where the tokens are phones, a beam search for the words of the model's lexicon.

    Args:
        folder: as a recipe wrote it.
        device: cpu, cuda, or auto for cuda where there is one.
        decoder: greedy, beam or flashlight; beam where a language model or phrases are given.
        lm: path of the language model that the search goes by, with nothing else to rescore.
        beam_width: prefixes kept after every frame.
        phrases: likely to be said, with the nats that each of their tokens is worth; 2 is a start.

    Raises:
        InputError: the folder, the language model or a phrase can't be used, or there is no such
            device.
    """
    if decoder not in (None, *get_args(DecoderName)):
        raise InputError(f"decoder is {decoder!r}; expected {', '.join(get_args(DecoderName))}")
    if decoder == "greedy" and (lm or phrases or beam_width):
        raise InputError("decoder is greedy, which goes by log_probs alone; expected beam")
    on = pick_device(device)
    model = load_model(folder, on)
    untuned = UNTUNED if model.topology is None else UNTUNED_HMM
    speaks = isinstance(model.tokenizer, PhoneTokenizer)
    plain = replace(untuned, lm_weight=0.0, word_bonus=0.0)
    settings = load_decoding(folder) or DecodingSettings("beam" if speaks else "greedy", plain)
    if decoder == "greedy":
        settings = DecodingSettings()
    elif settings.decoder == "greedy" and (decoder or lm or phrases or beam_width):
        settings = DecodingSettings("beam")
    if lm and not settings.lm:
        settings = replace(settings, beam=untuned)
    if decoder:
        settings = replace(settings, decoder=cast(DecoderName, decoder))
    if lm:
        settings = replace(settings, lm=str(lm), rescorers=(), lm_weights=(), word_bonus=0.0)
    if beam_width is not None:
        settings = replace(settings, beam=replace(settings.beam, beam_width=beam_width))
    decoding = Decoding.load(settings, model.tokenizer, on, phrases, model.topology)
    return Recognizer(model, decoding)


def pick_device(name: str) -> torch.device:
    """The device called cpu, cuda, or auto for cuda where there is one.

    Raises:
        InputError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise InputError(f"device is {name!r}; expected auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device is 'cuda'; this machine has no GPU that torch can use")
    return torch.device(name)
