"""A recording of hours: memory, real-time factor, and WER against the same speech cut by hand.

Utterances of manifests are joined to one FLAC file, with faint noise of 0.1 to 0.8 s between them,
over and over until it is long enough. A fresh process transcribes it with one thread. Then each
utterance is recognised alone, with the same model and decoder. The limits: a peak of 1.0 GB of
memory, whatever the number of hours, and a WER of at most 1.03 times that of the utterances.

The real-time factor is that of the processor's time, without the loading of the model.

Run: python tests/benchmarks/long_recording.py --model DIR --hours 1 [--manifest FILE ...]
Without manifests, the development and test utterances of LibriSpeech, which must be prepared.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

import numpy as np
import soundfile
import torch
from rapidfuzz.distance import Levenshtein  # jiwer would hold a matrix of hours by hours

import asr
from asr.audio.segments import SegmentSettings
from asr.corpus.manifest import read_manifest
from asr.corpus.recordings import load_utterance
from asr.errors import reported
from asr.evaluation.log_probs import recognise_manifest
from asr.evaluation.provenance import machine, peak_memory_mb

ROOT = Path(__file__).resolve().parent.parent.parent
MANIFESTS = [ROOT / "data" / "librispeech" / f"{part}.jsonl" for part in ("dev", "test")]
MEMORY_BAR = 1.0e9
WER_BAR = 1.03


def write_recording(path, utterances, hours, sample_rate):
    """Join utterances to a file, and return those that are in it."""
    generator = np.random.default_rng(1)
    samples, used = 0, []
    with soundfile.SoundFile(path, "w", sample_rate, 1) as file:
        for utterance in cycle(utterances):
            if samples >= hours * 3600 * sample_rate:
                return used
            pause = generator.normal(0, 1e-3, int(generator.uniform(0.1, 0.8) * sample_rate))
            for part in (load_utterance(utterance, sample_rate), pause):
                file.write(part)
                samples += len(part)
            used.append(utterance)


def transcribe(model, audio, detector):
    """In a fresh process: print what was recognised and what it took."""
    torch.set_num_threads(1)
    recognizer = asr.load(model, device="cpu")
    recognizer.segmentation = SegmentSettings(detector=detector)
    before = time.process_time(), time.perf_counter()
    transcript = recognizer.transcribe(audio)
    found = {
        "text": transcript.text,
        "segments": len(transcript.segments),
        "words": len(transcript.words),
        "duration": transcript.duration,
        "processor_s": time.process_time() - before[0],
        "seconds": time.perf_counter() - before[1],
        "peak": 2**20 * peak_memory_mb(),
    }
    print(json.dumps(found))


def transcribe_apart(model, audio, detector):
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--model", model, "--detector", detector]
    done = subprocess.run(
        [*command, "--audio", audio],
        stdout=subprocess.PIPE,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    return json.loads(done.stdout)


def texts_of_utterances(recognizer, utterances):
    """The recognised text of each utterance, by its id."""
    recognised = recognise_manifest(recognizer, utterances)
    nbests = recognizer.decoder.nbests(recognised.log_probs)
    return {u.id: nbest[0].text for u, nbest in zip(utterances, nbests, strict=True)}


def wer(references, text):
    """Word error rate of a text, aligned as a whole."""
    words = " ".join(references).split()
    return Levenshtein.distance(words, text.split()) / len(words)


def measure(arguments, audio):
    """Print a line for each measure, and return whether all limits are kept."""
    recognizer = asr.load(arguments.model, device="cpu")
    manifests = arguments.manifest or MANIFESTS
    utterances = [u for path in manifests for u in read_manifest(path)]
    used = write_recording(audio, utterances, arguments.hours, recognizer.sample_rate)
    found = transcribe_apart(arguments.model, audio, arguments.detector)
    texts = texts_of_utterances(recognizer, list({u.id: u for u in used}.values()))
    references = [u.text for u in used]
    rates = wer(references, found["text"]), wer(references, " ".join(texts[u.id] for u in used))
    print(
        f"{found['duration'] / 3600:.2f} h, {len(used)} utterances; {arguments.detector};", end=" "
    )
    print(f"{found['segments']} segments, {found['words']} words; {machine('cpu')}")
    print(f"peak memory {found['peak'] / 1e9:.3f} GB; at most {MEMORY_BAR / 1e9:g}")
    factors = (found[name] / found["duration"] for name in ("processor_s", "seconds"))
    print("real-time factor {:.4f}, of wall time {:.4f}".format(*factors))
    print(f"WER {rates[0]:.2%}, of the utterances {rates[1]:.2%}: ", end="")
    print(f"{rates[0] / rates[1]:.4f} of it; at most {WER_BAR}")
    return found["peak"] <= MEMORY_BAR and rates[0] <= WER_BAR * rates[1]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--hours", type=float, default=1.0, help="length (%(default)s)")
    parser.add_argument("--manifest", nargs="+", type=Path)
    parser.add_argument("--detector", default="auto", help="auto, silero or energy (%(default)s)")
    parser.add_argument("--audio", help="transcribe only this file, and print JSON")
    arguments = parser.parse_args()
    with reported("long_recording"), tempfile.TemporaryDirectory() as folder:
        if arguments.audio:
            transcribe(arguments.model, arguments.audio, arguments.detector)
            return
        kept = measure(arguments, Path(folder) / "long.flac")
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
