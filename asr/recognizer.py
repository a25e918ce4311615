"""audio file -> Transcript: the whole way."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import cast, get_args, overload

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr.alignment.aligner import recognised_words
from asr.alignment.times import Word
from asr.audio.memory import free_memory
from asr.audio.waveform import as_waveform, load_audio, resample
from asr.decoder import (
    UNTUNED,
    UNTUNED_HMM,
    Decoder,
    DecoderName,
    DecoderSettings,
    load_decoding,
)
from asr.errors import InputError
from asr.model import Model, load_model
from asr.text.tokenizer import PhoneTokenizer, Tokenizer

_BYTES_PER_SECOND = 2 << 20  # of audio: features and networks of the usual sizes take 0.9 to 1.5 MB


@dataclass(frozen=True)
class Transcript:
    """What was recognised in one recording.

    Args:
        text: the best hypothesis, as words.
        log_prob: its natural log-probability, as the search gives it.
        duration: of the recording, in seconds.
        find_words: gives `words`; without it there are none.
    """

    text: str
    log_prob: float
    duration: float
    find_words: InitVar[Callable[[], tuple[Word, ...]] | None] = None

    def __post_init__(self, find_words: Callable[[], tuple[Word, ...]] | None) -> None:
        self.__dict__["_find_words"] = find_words

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """The words of the text, each with `text`, `start`, `end` (seconds) and `confidence`.

        They are aligned when they are first asked for; until then the transcript keeps the model
        and the log-probabilities. See `asr.alignment.times.Word` for what confidence is, and is
        not.
        """
        find_words = self.__dict__.pop("_find_words", None)
        return find_words() if find_words else ()

    def __getstate__(self) -> dict[str, object]:
        _ = self.words  # a copy, or another process, gets them without the model
        return dict(self.__dict__)


class Recognizer:
    """A trained model, ready to transcribe.

    >>> recognizer = asr.load("exp/digits/ctc")
    >>> recognizer.transcribe("a.wav").text

    Args:
        model: from `asr.model.load_model`.
        decoder: how its log-probabilities become text; greedy search by default, which an HMM
            has not.
    """

    def __init__(self, model: Model, decoder: Decoder | None = None) -> None:
        self.model = model
        self.device = model.features.mean.device
        self.decoder = decoder or Decoder(DecoderSettings(), model.tokenizer, self.device)

    @property
    def sample_rate(self) -> int:
        """Hz, of the waveforms that `log_probs` takes."""
        return self.model.features.settings.sample_rate

    @property
    def tokenizer(self) -> Tokenizer:
        """What the tokens are, for a search with pieces of words or phones."""
        return self.model.tokenizer

    @property
    def symbols(self) -> tuple[str, ...]:
        """(C,), what each token stands for; the first is CTC's blank."""
        return self.model.tokenizer.symbols

    def transcribe(
        self,
        audio: str | Path | Tensor | np.ndarray,
        channel: int | None = None,
        sample_rate: int | None = None,
    ) -> Transcript:
        """The text of an audio file or of samples.

        >>> transcript = recognizer.transcribe("a.wav")
        >>> transcript.text, transcript.words[0].start
        >>> recognizer.transcribe(samples, sample_rate=44100).text

        Args:
            audio: path of a file or a pipe in any format that soundfile or PyAV reads, `-` for
                standard input; or samples of one channel, (samples,), floats in [-1, 1).
            channel: of a file, from 0; None for the mean of all channels.
            sample_rate: of samples, in Hz; they are resampled to the model's.

        Raises:
            InputError: the file can't be used, the audio is shorter than one window, or memory is
                too small for it; the message says why.
            ValueError: samples that are no waveform or have no `sample_rate`.

        Warns:
            AudioWarning: see `asr.audio.load.load_audio`.
        """
        if isinstance(audio, str | Path):
            if sample_rate is not None:
                raise ValueError(f"sample_rate is {sample_rate}; a file has its own: {audio}")
            longest_s = self._longest_s()
            waveform = load_audio(audio, self.sample_rate, channel, longest_s=longest_s)
            place = str(audio)
        else:
            waveform = self._resampled(audio, channel, sample_rate)
            place = "audio"
        self.check_length(waveform, place)
        try:
            return self.transcribe_waveform(waveform)
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and "memory" not in str(error):
                raise
            found = f"{len(waveform) / self.sample_rate:.0f} s"
            raise InputError(
                f"{place}: has {found} of audio, which take more memory than there is; expected a"
                " shorter recording"
            ) from None

    def _longest_s(self) -> float:
        """Seconds of audio that memory is large enough for."""
        memory = free_memory()
        if self.device.type == "cuda":
            memory = min(memory, torch.cuda.mem_get_info(self.device)[0])
        return max(10.0, memory / _BYTES_PER_SECOND)

    def transcribe_waveform(self, waveform: Tensor | np.ndarray) -> Transcript:
        """The text of (samples,) at the model's rate, at least one window long."""
        return self.transcript(self.log_probs(waveform), len(waveform))

    def transcript(self, log_probs: Tensor | np.ndarray, samples: int) -> Transcript:
        """The text of the log-probabilities, (T, C), of so many samples."""
        best = self.decoder.nbests([log_probs])[0][0]
        duration = samples / self.sample_rate
        find_words = partial(recognised_words, self.model, log_probs, best, duration)
        return Transcript(best.text, best.log_prob, duration, find_words)

    @overload
    def log_probs(self, waveform: Tensor | np.ndarray) -> Tensor: ...

    @overload
    def log_probs(self, waveform: Sequence[Tensor | np.ndarray]) -> list[Tensor]: ...

    @torch.no_grad()
    def log_probs(
        self, waveform: Tensor | np.ndarray | Sequence[Tensor | np.ndarray]
    ) -> Tensor | list[Tensor]:
        """Log-probabilities of a waveform, or of a batch of them.

        >>> waveform = asr.load_audio("a.wav", recognizer.sample_rate)
        >>> log_probs = recognizer.log_probs(waveform)  # (T, C)

        Args:
            waveform: (samples,), floats in [-1, 1) at the model's rate, `sample_rate`; or several
                in a list.

        Returns:
            log_probs: (T, C), float32, natural logs, on the CPU; of an HMM emissions, (T, S). Of a
                list, one for each waveform.

        Raises:
            ValueError: a waveform is not (samples,), is no waveform or shorter than one window.
        """
        if isinstance(waveform, Tensor | np.ndarray):
            return self.log_probs([waveform])[0]
        waveforms = [as_waveform(one, f"waveform[{n}]") for n, one in enumerate(waveform)]
        lengths = torch.tensor([len(one) for one in waveforms])
        padded = pad_sequence([one.cpu() for one in waveforms], batch_first=True)
        features, input_lengths = self.model.features(
            padded.to(self.device), lengths.to(self.device)
        )
        log_probs, input_lengths = self.model.acoustic(features, input_lengths)
        rows = log_probs.float().cpu()
        return [rows[:length, n] for n, length in enumerate(input_lengths.tolist())]

    def check_length(self, waveform: Tensor | np.ndarray, place: str) -> None:
        """Raise InputError where a waveform is shorter than one window; `place` names it."""
        settings = self.model.features.settings
        if len(waveform) < settings.win_length:
            found = 1000 * len(waveform) / settings.sample_rate
            raise InputError(
                f"{place}: has {found:.1f} ms of audio; expected at least one window,"
                f" {settings.window_ms:g} ms"
            )

    def _resampled(
        self, samples: Tensor | np.ndarray, channel: int | None, sample_rate: int | None
    ) -> Tensor:
        waveform = as_waveform(samples, "audio")
        if channel is not None:
            raise ValueError(f"channel is {channel}; samples are of one: audio[{channel}]")
        if sample_rate is None:
            raise ValueError("sample_rate is missing; expected that of the samples, in Hz")
        return resample(waveform, sample_rate, self.sample_rate)


def load(
    folder: str | Path,
    device: str = "auto",
    decoder: str | None = None,
    lm: str | Path | None = None,
    beam_width: int | None = None,
    phrases: Mapping[str, float] | None = None,
) -> Recognizer:
    """The recogniser of a model's folder.

    >>> recognizer = asr.load("exp/digits/ctc")

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
    settings = load_decoding(folder) or DecoderSettings("beam" if speaks else "greedy", plain)
    if decoder == "greedy":
        settings = DecoderSettings()
    elif settings.decoder == "greedy" and (decoder or lm or phrases or beam_width):
        settings = DecoderSettings("beam")
    if lm and not settings.lm:
        settings = replace(settings, beam=untuned)
    if decoder:
        settings = replace(settings, decoder=cast(DecoderName, decoder))
    if lm:
        settings = replace(settings, lm=str(lm), rescorers=(), lm_weights=(), word_bonus=0.0)
    if beam_width is not None:
        settings = replace(settings, beam=replace(settings.beam, beam_width=beam_width))
    loaded = Decoder.load(settings, model.tokenizer, on, phrases, model.topology)
    return Recognizer(model, loaded)


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
