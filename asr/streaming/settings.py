"""settings of a stream in seconds -> sizes in samples of the audio and frames of the output."""

import math
from dataclasses import dataclass

from asr.errors import InputError
from asr.model import Model
from asr.streaming.features import FeatureStream
from asr.streaming.network import ChunkedNetwork


@dataclass(frozen=True)
class StreamSettings:
    """How a stream is recognised.

    Args:
        chunk_s: seconds between two results; rounded down to output frames of the network.
        right_s: seconds of audio after a chunk that the network sees before it gives the chunk's
            result. The first result needs `chunk_s` and `right_s` of audio.
        pause_s: a pause of so many seconds ends a segment; infinite to end none.
        max_segment_s: a longer segment is cut; see `asr.streaming.pauses.find_end`.
        memory_s: seconds of earlier segments that count for the running mean and variance of the
            features, if the model normalises each utterance.
        reread_s: as long as a segment is not longer, it is read anew from its start with each
            chunk, since its first frames gain most from a right context and from better moments.

    Raises:
        InputError: a value is out of range.
    """

    chunk_s: float = 1.0
    right_s: float = 0.5
    pause_s: float = 0.7
    max_segment_s: float = 30.0
    memory_s: float = 10.0
    reread_s: float = 4.0

    def __post_init__(self) -> None:
        for name in ("chunk_s", "pause_s", "max_segment_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}; expected more than 0")
        for name in ("right_s", "memory_s", "reread_s"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}; expected 0 or more")
        for name in ("chunk_s", "right_s", "max_segment_s", "reread_s"):
            if not getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}; expected a number of seconds")


@dataclass(frozen=True)
class StreamSizes:
    """The settings of a stream in samples of the audio and in output frames of the network.

    Args:
        frame_samples: number of samples from one output frame to the next.
        chunk_samples: number of samples of a chunk.
        first_samples: number of samples before the first result: a chunk and its right context.
        chunk_frames: number of output frames in a chunk.
        right_frames: number of output frames after a chunk that the network sees.
        longest_frames: number of output frames of the longest segment.
        reread_frames: number of output frames up to which a segment is read anew.
        pause_frames: output frames of a pause that ends a segment; not rounded, may be infinite.
        memory_frames: frames of features of earlier segments that count; likewise.
    """

    frame_samples: int
    chunk_samples: int
    first_samples: int
    chunk_frames: int
    right_frames: int
    longest_frames: int
    reread_frames: int
    pause_frames: float
    memory_frames: float


def stream_sizes(model: Model, settings: StreamSettings) -> StreamSizes:
    """The sizes of a stream that a model recognises.

    Raises:
        InputError: the model is not a network for streams, or a chunk or the longest segment is
            shorter than a frame of its output.
    """
    audio, network = model.features.settings, ChunkedNetwork(model.acoustic)
    rate, frame_samples = audio.sample_rate, audio.hop_length * network.frames_per_output
    for name in ("chunk_s", "max_segment_s"):
        if round(getattr(settings, name) * rate) < frame_samples:
            raise InputError(
                f"{name} is {getattr(settings, name)}; expected {frame_samples / rate:g} or more,"
                " the model's frame"
            )
    chunk, longest, reread = (
        round(seconds * rate) // frame_samples
        for seconds in (settings.chunk_s, settings.max_segment_s, settings.reread_s)
    )
    first_samples = chunk * frame_samples + round(settings.right_s * rate)
    n_ready = network.n_ready(FeatureStream(model.features).n_ready(first_samples))
    return StreamSizes(
        frame_samples=frame_samples,
        chunk_samples=chunk * frame_samples,
        first_samples=first_samples,
        chunk_frames=chunk,
        right_frames=max(0, n_ready - chunk),
        longest_frames=longest,
        reread_frames=reread,
        pause_frames=settings.pause_s * rate / frame_samples,
        memory_frames=settings.memory_s * rate / audio.hop_length,
    )


def usual_settings(model: Model) -> StreamSettings:
    """The settings for a model's streams where none are given.

    A network that was trained on chunks reads the same chunks with the same right context, and no
    segment anew. A network of one direction needs no right context.

    Raises:
        InputError: the model is not a network for streams.
    """
    audio, network = model.features.settings, ChunkedNetwork(model.acoustic)
    trained = network.settings
    if not trained.bidirectional:
        return StreamSettings(right_s=0.0)
    if not trained.chunk_frames:
        return StreamSettings()
    chunk_samples = trained.chunk_frames * network.frames_per_output * audio.hop_length
    n_frames = network.n_needed(trained.chunk_frames + trained.right_frames)
    first_samples = FeatureStream(model.features).n_needed(n_frames)
    return StreamSettings(
        chunk_s=chunk_samples / audio.sample_rate,
        right_s=(first_samples - chunk_samples) / audio.sample_rate,
        reread_s=0.0,
    )
