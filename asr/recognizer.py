"""audio file -> Transcript: all stages from audio to text."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple, cast, get_args, overload

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr.alignment.aligner import recognised_words
from asr.alignment.times import Word
from asr.alignment.transcript import Transcript, joined
from asr.audio.load import read_blocks
from asr.audio.segments import SegmentSettings, speech_segments, windows
from asr.audio.waveform import as_waveform, resample
from asr.corpus.batching import batches_by_length
from asr.corpus.reading import made_ahead, read_ahead
from asr.decoder import (
    UNTUNED_OF,
    Decoder,
    DecoderName,
    DecoderSettings,
    default_decoder,
    load_decoding,
    refuse_greedy,
)
from asr.errors import InputError, attempt, is_out_of_memory
from asr.installed import model_folder
from asr.model import Model, check_log_probs, load_model
from asr.networks.kernels import limit_kernels
from asr.search.nbest import Hypothesis
from asr.streaming.settings import usual_settings
from asr.streaming.stream import Stream, StreamResult
from asr.text.normalisation import in_case
from asr.text.phrases import Phrases, as_phrases
from asr.text.tokenizer import Tokenizer

_BATCH_S = 30.0  # seconds of audio in a batch of segments, padding included
_WINDOW_S = 300.0  # seconds of segments that are sorted by length to make batches


class StartedAudio(NamedTuple):
    """A recording whose first samples are read; of up to 30 s, all of them.

    Args:
        place: the file's path, for error messages.
        waveform: (samples,), float32, at the model's rate.
        rest: the blocks after `waveform`, each (samples,); none if the recording is not long.
        is_long: whether the waveform is longer than `SegmentSettings.max_segment_s`, so that the
            recording is recognised in segments.
    """

    place: str
    waveform: np.ndarray
    rest: Iterator[np.ndarray]
    is_long: bool


class Recognizer:
    """A trained model, ready to transcribe.

    >>> recognizer = asr.load("exp/digits/ctc")
    >>> recognizer.transcribe("a.wav").text

    Args:
        model: a model from `asr.model.load_model`.
        decoder: turns the model's log-probabilities into text. The default, greedy search, can't
            be used with an HMM.
        segmentation: how long recordings are cut into segments.
    """

    def __init__(
        self,
        model: Model,
        decoder: Decoder | None = None,
        segmentation: SegmentSettings | None = None,
    ) -> None:
        self.model = model
        self.segmentation = segmentation or SegmentSettings()
        self.device = model.features.mean.device
        self.decoder = decoder or Decoder(DecoderSettings(), model.tokenizer, self.device)

    @property
    def sample_rate(self) -> int:
        """Sample rate of the waveforms that `log_probs` takes, in Hz."""
        return self.model.features.settings.sample_rate

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer, needed for a search over subwords or phones."""
        return self.model.tokenizer

    @property
    def symbols(self) -> tuple[str, ...]:
        """(C,), the text of each token; the first is CTC's blank."""
        return self.model.tokenizer.symbols

    def transcribe(
        self,
        audio: str | Path | Tensor | np.ndarray,
        channel: int | None = None,
        sample_rate: int | None = None,
    ) -> Transcript:
        """Transcribe an audio file or samples of any length.

        >>> transcript = recognizer.transcribe("a.wav")
        >>> transcript.text, transcript.words[0].start
        >>> recognizer.transcribe(samples, sample_rate=44100).text

        A recording of more than 30 s, `segmentation.max_segment_s`, is recognised in segments,
        which are cut at pauses; where there is no speech, there are no words. The memory for a
        file does not depend on its length. The transcript has the sum of the segments'
        log-probabilities. If the model normalises each utterance, it normalises each segment.

        Args:
            audio: path of a file or a pipe in any format that soundfile or PyAV reads, `-` for
                standard input; or samples of one channel, (samples,), floats in [-1, 1).
            channel: the file's channel to use, from 0; None for the mean of all channels.
            sample_rate: sample rate of the samples, in Hz; they are resampled to the model's rate.
                Must not be given for a file.

        Raises:
            InputError: the file can't be used, the audio is shorter than one window, or it needs
                more memory than there is.
            ValueError: the samples are not a waveform, or `sample_rate` is missing.

        Warns:
            AudioWarning: see `asr.audio.load.read_audio`.
        """
        if isinstance(audio, str | Path):
            if sample_rate is not None:
                raise ValueError(f"sample_rate is {sample_rate}; a file has its own: {audio}")
            started = self.start_reading(audio, channel)
        else:
            waveform = self._resampled(audio, channel, sample_rate).numpy(force=True)
            started = self._started(iter([waveform]), "audio")
        if started.is_long:
            return self.transcribe_long(started)
        return self.transcribe_batch([started])[0]

    def stream(
        self,
        pieces: Iterable[Tensor | np.ndarray],
        chunk_s: float | None = None,
        right_s: float | None = None,
        pause_s: float = 0.7,
        moments: tuple[Tensor, Tensor] | None = None,
    ) -> Iterator[StreamResult]:
        """Transcribe a stream while it arrives.

        >>> for result in recognizer.stream(pieces):
        ...     print(result.text, end="\\n" if result.is_final else "\\r")

        After each chunk there is a result if the text has changed. A pause ends a segment, whose
        final result has words with times and is decoded as a file is. Memory does not grow with the
        length of the stream. How the stream is divided into pieces changes nothing.

        Args:
            pieces: the waveform, in pieces of any length, each (samples,), floats in [-1, 1) at the
                model's rate, `sample_rate`.
            chunk_s: as in `StreamSettings`, as the next two; None for 1.0, or for the chunks that a
                network was trained on.
            right_s: None for 0.5, for the right context that a network was trained with, or for 0
                if it has one direction.
            pause_s: infinite to end a segment only after `segmentation.max_segment_s`.
            moments: for a model that normalises each utterance, the mean and standard deviation of
                the features, each (F,), if they are known; None for running moments.

        Yields:
            result: partial and final results, in order.

        Raises:
            InputError: the model is an HMM with Gaussian mixtures, the decoder is flashlight, a
                setting is out of range, or the model gives NaN.
            ValueError: a piece is not a waveform, or the moments don't fit the model.

        Source: Zhang et al. 2016, arXiv:1510.08983, latency-controlled bidirectional LSTM.
        """
        usual = usual_settings(self.model)
        settings = replace(
            usual,
            chunk_s=usual.chunk_s if chunk_s is None else chunk_s,
            right_s=usual.right_s if right_s is None else right_s,
            pause_s=pause_s,
            max_segment_s=self.segmentation.max_segment_s,
        )
        stream = Stream(self.model, self.decoder, self.transcripts, settings, moments)
        return stream.results(pieces)

    def start_reading(self, audio: str | Path, channel: int | None = None) -> StartedAudio:
        """Read a file for `transcribe_batch`, or the first 30 s of a longer one.

        Args:
            audio: as for `transcribe`.
            channel: as for `transcribe`.

        Raises:
            InputError: the file can't be used, or is shorter than one window.

        Warns:
            AudioWarning: as `transcribe`.
        """
        return self._started(read_blocks(audio, self.sample_rate, channel), str(audio))

    def transcribe_batch(self, audio: Sequence[StartedAudio]) -> list[Transcript]:
        """Transcribe recordings of up to 30 s together.

        The transcripts are those of `transcribe`, up to the rounding of floats.

        Args:
            audio: from `start_reading`; none is long. Similar lengths need the least padding.

        Returns:
            transcripts: one for each recording.

        Raises:
            InputError: the model gives NaN for a recording, or there is too little memory; the
                other recordings are not transcribed either.
            ValueError: a recording is long.
        """
        return self._decoded(audio, self._batch_log_probs(audio))

    def transcribe_batches(
        self, batches: Sequence[Sequence[StartedAudio]]
    ) -> Iterator[list[Transcript] | Exception]:
        """Transcribe batches like `transcribe_batch`; one that fails does not stop the others.

        On a GPU, a thread computes the network's output for the next batch during the search.

        Args:
            batches: each as for `transcribe_batch`.

        Yields:
            transcripts: those of a batch, or the exception that was raised for it, of any kind.
        """
        computed = read_ahead(partial(attempt, self._batch_log_probs), batches, self.batches_ahead)
        for batch, log_probs in zip(batches, computed, strict=True):
            if isinstance(log_probs, Exception):
                yield log_probs
            else:
                yield attempt(self._decoded, batch, log_probs)

    @property
    def batches_ahead(self) -> int:
        """Number of batches that the network is ahead of the search.

        It is 1 on a GPU. On a CPU it is 0, because both would share the same processors.
        """
        return int(self.device.type != "cpu")

    def _batch_log_probs(self, audio: Sequence[StartedAudio]) -> list[Tensor]:
        for number, one in enumerate(audio):
            if one.is_long:
                raise ValueError(f"audio[{number}] is long; expected it in transcribe_long")
        with self._naming_lack_of_memory(", ".join(one.place for one in audio)):
            return self._checked_log_probs(
                [one.waveform for one in audio], [one.place for one in audio]
            )

    def _decoded(
        self, audio: Sequence[StartedAudio], log_probs: Sequence[Tensor]
    ) -> list[Transcript]:
        with self._naming_lack_of_memory(", ".join(one.place for one in audio)):
            return self.transcripts(log_probs, [len(one.waveform) for one in audio])

    def transcribe_long(self, audio: StartedAudio) -> Transcript:
        """Transcribe a recording in segments that are cut at pauses; see `transcribe`.

        Args:
            audio: from `start_reading`. Its rest is read, so it can be transcribed once.

        Raises:
            InputError: as `transcribe`.

        Warns:
            AudioWarning: as `transcribe`.
        """
        with self._naming_lack_of_memory(audio.place):
            return self._transcribe_segments(chain([audio.waveform], audio.rest), audio.place)

    def _started(self, blocks: Iterator[np.ndarray], place: str) -> StartedAudio:
        longest = int(self.segmentation.max_segment_s * self.sample_rate)
        with self._naming_lack_of_memory(place):
            waveform = _first_samples(blocks, longest + 1)
        self.check_length(waveform, place)
        return StartedAudio(place, waveform, blocks, len(waveform) > longest)

    @contextmanager
    def _naming_lack_of_memory(self, place: str) -> Iterator[None]:
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise InputError(
                f"{place}: needs more memory than there is; expected enough to recognise"
                f" {self.segmentation.max_segment_s:g} s at once"
            ) from None

    def _transcribe_segments(self, blocks: Iterable[np.ndarray], place: str) -> Transcript:
        n_samples = 0

        def counted() -> Iterator[np.ndarray]:
            nonlocal n_samples
            for block in blocks:
                n_samples += len(block)
                yield block

        pieces = []
        segments = speech_segments(counted(), self.sample_rate, self.segmentation)
        found = windows(segments, int(_WINDOW_S * self.sample_rate))
        with closing(made_ahead(found)) as read:  # and decoded, in a thread
            for window in read:
                transcripts = self._transcribe_window([part.waveform for part in window], place)
                for segment, transcript in zip(window, transcripts, strict=True):
                    pieces.append((segment.start / self.sample_rate, transcript))
        return joined(pieces, n_samples / self.sample_rate)

    def _transcribe_window(self, waveforms: Sequence[np.ndarray], place: str) -> list[Transcript]:
        lengths = [len(waveform) for waveform in waveforms]
        batches = batches_by_length(lengths, _BATCH_S * self.sample_rate)

        def log_probs_of(batch: list[int]) -> list[Tensor]:
            return self._checked_log_probs([waveforms[n] for n in batch], [place] * len(batch))

        found: dict[int, Transcript] = {}
        computed = read_ahead(log_probs_of, batches, self.batches_ahead)
        for batch, log_probs in zip(batches, computed, strict=True):
            transcripts = self.transcripts(log_probs, [lengths[n] for n in batch])
            for n, transcript in zip(batch, transcripts, strict=True):
                _ = transcript.words  # aligned now, to forget the log-probabilities
                found[n] = transcript
        return [found[n] for n in range(len(waveforms))]

    def _checked_log_probs(
        self, waveforms: list[np.ndarray], places: Sequence[str]
    ) -> list[Tensor]:
        log_probs = self.log_probs(waveforms)
        for rows, place in zip(log_probs, places, strict=True):
            check_log_probs(rows, place)
        return log_probs

    def transcripts(
        self, log_probs: Sequence[Tensor | np.ndarray], samples: Sequence[int]
    ) -> list[Transcript]:
        """Decode log-probabilities, each (T, C), and each computed from so many samples."""
        found = []
        for rows, length, nbest in zip(
            log_probs, samples, self.decoder.nbests(log_probs), strict=True
        ):
            best, duration = nbest[0], length / self.sample_rate
            find_words = partial(self._words, rows, nbest, duration)
            found.append(Transcript(best.text, best.log_prob, duration, find_words))
        return found

    def _words(
        self, rows: Tensor | np.ndarray, nbest: Sequence[Hypothesis], duration: float
    ) -> tuple[Word, ...]:
        words = recognised_words(self.model, rows, nbest[0], duration)
        weights = self.decoder.settings.confidence
        if weights is None:
            return words
        confidences = weights.calibrated(np.array([w.confidence for w in words]), nbest).tolist()
        return tuple(
            replace(word, confidence=own) for word, own in zip(words, confidences, strict=True)
        )

    @overload
    def log_probs(self, waveform: Tensor | np.ndarray) -> Tensor: ...

    @overload
    def log_probs(self, waveform: Sequence[Tensor | np.ndarray]) -> list[Tensor]: ...

    @torch.no_grad()
    def log_probs(
        self, waveform: Tensor | np.ndarray | Sequence[Tensor | np.ndarray]
    ) -> Tensor | list[Tensor]:
        """Compute the log-probabilities of a waveform or a list of waveforms.

        >>> waveform = asr.load_audio("a.wav", recognizer.sample_rate)
        >>> log_probs = recognizer.log_probs(waveform)  # (T, C)

        Args:
            waveform: (samples,), floats in [-1, 1) at the model's rate, `sample_rate`; or a list
                of such waveforms.

        Returns:
            log_probs: (T, C), float32, natural logs, on the CPU; for an HMM its emissions, (T, S).
                For a list of waveforms, a list of them.

        Raises:
            ValueError: a waveform is not (samples,), has invalid samples, or is shorter than one
                window.
        """
        if isinstance(waveform, Tensor | np.ndarray):
            return self.log_probs([waveform])[0]
        waveforms = [as_waveform(samples, f"waveform[{n}]") for n, samples in enumerate(waveform)]
        if not waveforms:
            return []
        lengths = torch.tensor([len(samples) for samples in waveforms])
        padded = pad_sequence([samples.cpu() for samples in waveforms], batch_first=True)
        features, input_lengths = self.model.features(
            padded.to(self.device), lengths.to(self.device)
        )
        log_probs, input_lengths = self.model.acoustic(features, input_lengths)
        rows = log_probs.float().cpu()
        return [rows[:length, n] for n, length in enumerate(input_lengths.tolist())]

    def check_length(self, waveform: Tensor | np.ndarray, place: str) -> None:
        """Raise InputError if a waveform is shorter than one window; `place` names it."""
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


def _first_samples(blocks: Iterator[np.ndarray], count: int) -> np.ndarray:
    """The first blocks joined: `count` samples or more, or all that there are."""
    taken, n_taken = [], 0
    for block in blocks:
        taken.append(block)
        n_taken += len(block)
        if n_taken >= count:
            break
    return np.concatenate(taken)


def load(
    folder: str | Path,
    device: str = "auto",
    decoder: str | None = None,
    lm: str | Path | None = None,
    beam_width: int | None = None,
    phrases: Phrases | None = None,
) -> Recognizer:
    """Load a recogniser from a model's folder.

    >>> recognizer = asr.load("exp/digits/ctc")

    `asr models` lists the models that have a name. Arguments that are not given are taken from the
    folder's `decoding.json`. Without that file the decoder is greedy, or, if the tokens are phones,
    a beam search over the words of the model's lexicon.

    Args:
        folder: a folder written by a recipe, or the name of an installed model.
        device: cpu, cuda, or auto for cuda if there is a GPU.
        decoder: greedy, beam or flashlight; beam if a language model or phrases are given.
            Confidences are not calibrated if the folder's decoder is another.
        lm: path of a language model to use in the search; rescoring and the calibration of
            confidences are then turned off.
        beam_width: number of prefixes kept after every frame.
        phrases: phrases to make more likely, with the nats added for each of their tokens; 2 is a
            good start. Those of a file are from `asr.text.phrases.read_phrases`. If the tokens are
            phones, words that the lexicon lacks are pronounced by their letters, with a line on
            stderr; see `asr.corpus.letter_to_sound.with_guesses`.

    Raises:
        InputError: the folder, the language model or a phrase can't be used, or there is no such
            device.
    """
    if decoder not in (None, *get_args(DecoderName)):
        raise InputError(f"decoder is {decoder!r}; expected {', '.join(get_args(DecoderName))}")
    if lm == "":
        raise InputError("lm is ''; expected a language model's folder or file")
    given = {"lm": lm, "phrases": phrases, "beam_width": beam_width}
    refuse_greedy(decoder or "", given)
    on = pick_device(device)
    limit_kernels()  # the segments of long recordings have many lengths
    folder = model_folder(folder)
    model = load_model(folder, on)
    untuned = UNTUNED_OF[model.kind]
    plain = replace(untuned, lm_weight=0.0, word_bonus=0.0)
    settings = load_decoding(folder) or DecoderSettings(default_decoder(model.tokenizer), plain)
    if decoder == "greedy":
        settings = DecoderSettings()
    elif settings.decoder == "greedy" and (decoder or any(given.values())):
        settings = DecoderSettings("beam")
    if lm and not settings.lm:
        settings = replace(settings, beam=untuned)
    if lm or (decoder and decoder != settings.decoder):
        settings = replace(settings, confidence=None)  # fitted on what another search recognises
    if decoder:
        settings = replace(settings, decoder=cast(DecoderName, decoder))
    if lm:
        settings = replace(settings, lm=str(lm), rescorers=(), lm_weights=(), word_bonus=0.0)
    if beam_width is not None:
        settings = replace(settings, beam=replace(settings.beam, beam_width=beam_width))
    if phrases and model.tokenizer.words:
        from asr.corpus.letter_to_sound import with_guesses  # takes time to import

        case = model.tokenizer.case
        words = [w for one in as_phrases(phrases) for w in in_case(one.text, case).split()]
        model = replace(model, tokenizer=with_guesses(model.tokenizer, words, "phrases"))
    loaded = Decoder.load(settings, model.tokenizer, on, phrases, model.topology)
    return Recognizer(model, loaded)


def pick_device(name: str) -> torch.device:
    """The device named cpu or cuda; auto means cuda if there is a GPU, else cpu.

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
