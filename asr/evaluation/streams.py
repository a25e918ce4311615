"""recogniser and manifest -> results of its utterances as streams, beside those of the whole."""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace

from asr.config import from_dict
from asr.corpus.manifest import Utterance
from asr.corpus.recordings import load_utterance
from asr.decoder import Decoder
from asr.errors import InputError
from asr.evaluation.comparison import Comparison, System
from asr.evaluation.results import compared, system_result
from asr.files import finite_or_none
from asr.model import Model
from asr.recognizer import Recognizer
from asr.streaming.settings import StreamSettings, stream_sizes, usual_settings
from asr.streaming.stream import Stream


def parse_streams(texts: Sequence[str], model: Model) -> list[StreamSettings]:
    """Settings of streams such as `chunk_s=1.0,right_s=0.5`, separated by semicolons.

    Args:
        texts: the settings; those that are left out are `usual_settings`.
        model: recognises the streams.

    Raises:
        InputError: a setting is unknown, not a number, out of range for the model, or given twice;
            two streams have the same settings; or the model can't recognise streams.
    """
    usual, found = usual_settings(model), dict[str, StreamSettings]()
    for text in ";".join(texts).split(";"):
        settings = _parsed(text, usual)
        try:
            stream_sizes(model, settings)
        except InputError as error:
            raise InputError(f"{text!r}: {error}") from None
        name = _short_name(settings)
        if name in found:
            raise InputError(f"{text!r}: has the settings of another stream; expected others")
        found[name] = settings
    return list(found.values())


def stream_texts(
    recognizer: Recognizer, utterances: Sequence[Utterance], settings: StreamSettings
) -> list[str]:
    """The recognised texts of utterances, each a stream of its own.

    Args:
        recognizer: a recogniser that can stream.
        utterances: the utterances.
        settings: how they are recognised.

    Raises:
        InputError: as `Recognizer.stream`, or an audio file can't be used.
    """
    model, decoder = recognizer.model, recognizer.decoder
    texts = []
    for utterance in utterances:
        waveform = load_utterance(utterance, recognizer.sample_rate)
        stream = Stream(model, decoder, recognizer.transcripts, settings)
        results = stream.results([waveform])
        texts.append(" ".join(result.text for result in results if result.is_final))
    return texts


def add_stream(comparison: Comparison, whole: System, settings: StreamSettings) -> System:
    """Recognise the test set as streams, and add the system, compared with the whole utterances.

    Args:
        comparison: of the ways of decoding.
        whole: how the final results are decoded, and what they are compared with.
        settings: how the streams are recognised.
    """
    model, test = comparison.recognizer.model, comparison.test
    device = comparison.recognizer.device
    decoder = Decoder.load(whole.settings, model.tokenizer, device, topology=model.topology)
    started = time.perf_counter()
    texts = stream_texts(Recognizer(model, decoder), test.utterances, settings)
    seconds = time.perf_counter() - started
    name = f"{whole.result.name}-stream-{_short_name(settings)}"
    values = {field: finite_or_none(value) for field, value in asdict(settings).items()}
    decoding = {**(whole.result.decoding or {}), "stream": values}
    result = system_result(name, test.references, texts, test.audio_s, seconds, decoding)
    result = replace(result, latency_s=settings.chunk_s + settings.right_s)
    result = compared(result, test.references, texts, whole.result.name, whole.hypotheses)
    comparison.systems.append(System(result, texts, whole.settings))
    return comparison.systems[-1]


def _short_name(settings: StreamSettings) -> str:
    """Chunk and right context in seconds, and what else is not the default."""
    usual = asdict(StreamSettings(settings.chunk_s, settings.right_s))
    others = [f"{n}={x:g}" for n, x in asdict(settings).items() if x != usual[n]]
    return "-".join([f"{settings.chunk_s:g}", f"{settings.right_s:g}", *others])


def _parsed(text: str, usual: StreamSettings) -> StreamSettings:
    values: dict[str, float] = {}
    for pair in text.split(","):
        name, _, value = pair.partition("=")
        name = name.strip()
        if name in values:
            raise InputError(f"{text!r}: {name} is given twice; expected it once")
        try:
            values[name] = float(value)
        except ValueError:
            raise InputError(f"{pair!r}; expected pairs such as chunk_s=1.0,right_s=0.5") from None
    return from_dict(StreamSettings, {**asdict(usual), **values}, repr(text))
