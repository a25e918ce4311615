"""audio files -> transcripts: read in a thread, recognised in batches."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from asr.alignment.transcript import Transcript
from asr.corpus.batching import batches_by_length
from asr.corpus.reading import made_ahead
from asr.errors import attempt
from asr.recognizer import Recognizer, StartedAudio

_WINDOW_BATCHES = 4  # batches of audio that are sorted by length; three windows are in memory


def transcribe_files(
    recognizer: Recognizer,
    paths: Iterable[Path],
    channel: int | None = None,
    batch_s: float = 60.0,
) -> Iterator[Transcript | Exception]:
    """Transcribe files with `Recognizer.transcribe`'s results, faster than one by one.

    A thread reads the next files during recognition. Recordings of up to 30 s are recognised in
    batches of similar length. Company in a batch may change the last digits of log-probabilities
    and confidences. A file that fails does not stop the others.

    Args:
        recognizer: the recogniser; other threads must not use it at the same time.
        paths: the files.
        channel: as for `Recognizer.transcribe`.
        batch_s: maximum length of a batch in seconds of audio, padding included; 0 for batches of
            one recording.

    Yields:
        result: for each path, in order, its transcript or the exception that was raised for it.

    Raises:
        ValueError: `batch_s` is below 0.

    Warns:
        AudioWarning: as `Recognizer.transcribe`; from the thread, when the file is read.
    """
    if not batch_s >= 0:
        raise ValueError(f"batch_s is {batch_s}; expected 0 or more seconds")
    batch_samples = batch_s * recognizer.sample_rate
    started = (attempt(recognizer.start_reading, path, channel) for path in paths)
    with closing(made_ahead(_windows(started, _WINDOW_BATCHES * batch_samples))) as windows:
        for short, last in windows:
            yield from _transcribe_short(recognizer, short, batch_samples)
            if isinstance(last, StartedAudio):
                yield attempt(recognizer.transcribe_long, last)
            elif last:
                yield last


class _Window(NamedTuple):
    """Recordings that are batched together, and after them a long one or an error."""

    short: list[StartedAudio]
    last: StartedAudio | Exception | None = None


def _windows(audio: Iterable[StartedAudio | Exception], n_samples: float) -> Iterator[_Window]:
    """Windows of so many samples of short recordings; a long one or an error ends a window."""
    short: list[StartedAudio] = []
    n_taken = 0
    for one in audio:
        if isinstance(one, Exception) or one.is_long:
            yield _Window(short, one)
            short, n_taken = [], 0
            continue
        short.append(one)
        n_taken += len(one.waveform)
        if n_taken >= n_samples:
            yield _Window(short)
            short, n_taken = [], 0
    yield _Window(short)


def _transcribe_short(
    recognizer: Recognizer, audio: Sequence[StartedAudio], batch_samples: float
) -> Iterator[Transcript | Exception]:
    """The results in order, each as soon as those before it are there."""
    found: dict[int, Transcript | Exception] = {}
    n_yielded = 0
    lengths = [len(one.waveform) for one in audio]
    batches = batches_by_length(lengths, max(batch_samples, 1))
    started = [[audio[number] for number in batch] for batch in batches]
    together = recognizer.transcribe_batches(started)
    for numbers, batch, results in zip(batches, started, together, strict=True):
        if isinstance(results, Exception):
            found.update(zip(numbers, _one_by_one(recognizer, batch, results), strict=True))
        else:
            found.update(zip(numbers, results, strict=True))
        while n_yielded in found:
            yield found.pop(n_yielded)
            n_yielded += 1


def _one_by_one(
    recognizer: Recognizer, batch: Sequence[StartedAudio], error: Exception
) -> list[Transcript | Exception]:
    """The results of a batch that failed, as not all its recordings may fail alone."""
    if len(batch) == 1:
        return [error]
    alone = recognizer.transcribe_batches([[audio] for audio in batch])
    return [one if isinstance(one, Exception) else one[0] for one in alone]
