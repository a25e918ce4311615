"""Load damaged audio files: each must load or give one clear error line.

    python tests/benchmarks/damaged_audio.py [--count 300] [--seed 0] [--model DIR]

The files are made in a temporary folder from noise and tones. `read_audio` is run on each, and the
results are counted for each kind of damage. Any traceback makes the status 1. With `--model`,
`asr transcribe` is also run once on all files, and must lose none: one line on stdout for each
transcribed file, one on stderr for each other file, status 1, no traceback.
"""

import argparse
import math
import os
import struct
import subprocess
import sys
import tempfile
import traceback
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import soundfile

from asr.audio.load import read_audio
from asr.errors import InputError

SAMPLE_RATE = 16000
FORMATS = {  # name -> suffix, libsndfile's format and subtype
    "wav": (".wav", "WAV", "PCM_16"),
    "float wav": (".wav", "WAV", "FLOAT"),
    "flac": (".flac", "FLAC", "PCM_16"),
    "ogg vorbis": (".ogg", "OGG", "VORBIS"),
    "ogg opus": (".opus", "OGG", "OPUS"),
    "mp3": (".mp3", "MP3", "MPEG_LAYER_III"),
    "aiff": (".aiff", "AIFF", "PCM_16"),
    "nist": (".sph", "NIST", "PCM_16"),
}
OUTCOMES = ("loaded", "one clear line", "traceback")


def healthy(folder: Path, rng: np.random.Generator) -> list[Path]:
    """Two undamaged files of each format, with one and two channels; m4a if PyAV is installed."""
    paths = []
    for channels in (1, 2):
        t = np.arange(2 * SAMPLE_RATE)[:, None] / SAMPLE_RATE
        tones = np.sin(2 * math.pi * rng.uniform(100, 3000, channels) * t)
        waveforms = 0.3 * tones + 0.05 * rng.standard_normal(tones.shape)
        for suffix, container, subtype in FORMATS.values():
            path = folder / f"whole-{subtype.lower()}-{container.lower()}-{channels}{suffix}"
            soundfile.write(path, waveforms, SAMPLE_RATE, format=container, subtype=subtype)
            paths.append(path)
        try:
            paths.append(write_m4a(folder / f"whole-aac-{channels}.m4a", waveforms))
        except ModuleNotFoundError:
            print("without m4a: PyAV is not installed", file=sys.stderr)
    return paths


def write_m4a(path: Path, waveforms: np.ndarray) -> Path:
    """AAC in MP4, with the index at the start so that a truncated file can be opened."""
    import av

    layout = "mono" if waveforms.shape[1] == 1 else "stereo"
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("aac", rate=SAMPLE_RATE)
        stream.layout = layout
        for start in range(0, len(waveforms), 1024):
            planar = np.ascontiguousarray(waveforms[start : start + 1024].T, dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(planar, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = SAMPLE_RATE, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(1, len(data)))]


def cut_in_header(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(1, min(200, len(data))))]


def flip_in_header(data: bytes, rng: np.random.Generator) -> bytes:
    return flip(data, rng, 0, min(100, len(data)))


def flip_in_body(data: bytes, rng: np.random.Generator) -> bytes:
    return flip(data, rng, min(100, len(data) // 2), len(data))


def flip(data: bytes, rng: np.random.Generator, start: int, stop: int) -> bytes:
    damaged = bytearray(data)
    for position in rng.integers(start, stop, int(rng.integers(1, 9))):
        damaged[position] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def overwrite_word(data: bytes, rng: np.random.Generator) -> bytes:
    """Set a four-byte number in the header to 0, 1, a huge or a random number."""
    damaged = bytearray(data)
    value = int(rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1, int(rng.integers(2**32))]))
    start = int(rng.integers(0, min(64, len(data) - 4)))
    damaged[start : start + 4] = struct.pack(str(rng.choice(["<I", ">I"])), value)
    return bytes(damaged)


def hole(data: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(0, len(data)))
    return data[:start] + data[start + int(rng.integers(1, len(data) // 4)) :]


def zeros(data: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(0, len(data)))
    stop = min(len(data), start + int(rng.integers(1, len(data) // 4)))
    return data[:start] + bytes(stop - start) + data[stop:]


def twice(data: bytes, rng: np.random.Generator) -> bytes:
    return data + data


def head_only(data: bytes, rng: np.random.Generator) -> bytes:
    """Keep the first bytes and replace the rest by random bytes."""
    n_kept = int(rng.integers(4, 64))
    return data[:n_kept] + rng.bytes(len(data) - n_kept)


DAMAGES = (
    *(cut, cut_in_header, flip_in_header, flip_in_body, overwrite_word, hole, zeros, twice),
    head_only,
)


def hopeless(folder: Path, rng: np.random.Generator) -> list[tuple[str, Path]]:
    """(kind, path) of files that are not audio or have no usable samples."""
    suffixes = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".sph", ".raw", "")
    contents = {
        "empty": b"",
        "one byte": b"R",
        "text": b"the quick brown fox\n" * 50,
        "playlist": b"#EXTM3U\nhttp://localhost/a.mp3\n",
        "garbage": rng.bytes(4000),
        "only zeros": bytes(4000),
    }
    made = []
    for what, content in contents.items():
        for suffix in suffixes:
            path = folder / f"{what.replace(' ', '-')}{suffix}"
            path.write_bytes(content)
            made.append((what, path))
    for what, value in (("NaN", math.nan), ("infinity", math.inf), ("huge", 1e38)):
        samples = np.full(1000, 0.1, np.float32)
        samples[500] = value
        made.append((what, folder / f"{what}.wav"))
        soundfile.write(made[-1][1], samples, SAMPLE_RATE, subtype="FLOAT")
    for suffix, container, subtype in FORMATS.values():
        made.append(("0 samples", folder / f"none-{subtype.lower()}{suffix}"))
        soundfile.write(made[-1][1], np.zeros(0), SAMPLE_RATE, format=container, subtype=subtype)
    (folder / "folder.wav").mkdir()
    made.append(("folder", folder / "folder.wav"))
    made.append(("not there", folder / "not-there.wav"))
    return made


def make_files(folder: Path, count: int, rng: np.random.Generator) -> list[tuple[str, Path]]:
    """(kind of damage, path) of the healthy, the hopeless and `count` damaged files."""
    whole = healthy(folder, rng)
    made = [("nothing", path) for path in whole] + hopeless(folder, rng)
    for n in range(count):
        source = whole[n % len(whole)]
        damage = DAMAGES[n // len(whole) % len(DAMAGES)]
        # every eighth also has the suffix of another format
        suffix = str(rng.choice([".wav", ".flac", ".mp3", ".m4a", ".ogg", ".raw"]))
        path = folder / f"{n:05}-{damage.__name__}{source.suffix if n % 8 else suffix}"
        path.write_bytes(damage(source.read_bytes(), rng))
        made.append((damage.__name__.replace("_", " "), path))
    return made


def outcome(path: Path) -> str:
    """Load a file and return one of `OUTCOMES`."""
    try:
        waveform = read_audio(path, SAMPLE_RATE)
    except InputError as error:
        if str(error).startswith(str(path)) and "\n" not in str(error):
            return "one clear line"
        print(f"{path.name}: not one line that starts with the path: {error}", file=sys.stderr)
        return "traceback"
    except Exception:
        print(path.name, traceback.format_exc(), file=sys.stderr)
        return "traceback"
    if waveform.dtype != np.float32 or not len(waveform) or not np.isfinite(waveform).all():
        print(f"{path.name}: {len(waveform)} samples, or not finite", file=sys.stderr)
        return "traceback"
    return "loaded"


def transcribe(paths: list[Path], model: Path) -> list[str]:
    """Run the command line once on all files; return a line for each problem."""
    command = [
        sys.executable,
        "-m",
        "asr.cli",
        "transcribe",
        "--model",
        str(model),
        *map(str, paths),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    problems = []
    if done.returncode != 1:
        problems.append(f"status {done.returncode}; expected 1")
    if "Traceback" in done.stdout + done.stderr:
        problems.append("a traceback")
    answered = Counter(line.split("\t")[0] for line in done.stdout.splitlines())
    refused = Counter(
        str(path)
        for line in done.stderr.splitlines()
        for path in paths
        if line.startswith(f"asr transcribe: {path}: ")
    )
    for path in map(str, paths):
        if answered[path] + refused[path] != 1:
            problems.append(f"{path}: {answered[path]} texts, {refused[path]} errors; expected one")
    if unknown := sorted(set(answered) - {str(path) for path in paths}):
        problems.append(f"lines on stdout for no file: {unknown[:3]}")
    print(f"asr transcribe: {sum(answered.values())} texts, {sum(refused.values())} errors")
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--count", type=int, default=300, help="number of damaged files (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    parser.add_argument("--model", type=Path, help="also run `asr transcribe` with this model")
    arguments = parser.parse_args()
    problems = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = make_files(folder, arguments.count, np.random.default_rng(arguments.seed))
        table: dict[str, Counter[str]] = defaultdict(Counter)
        for what, path in made:
            table[what][outcome(path)] += 1
        if arguments.model is not None:
            problems += transcribe([path for _, path in made], arguments.model)
    print("".join(f"{head:>16}" for head in ("", *OUTCOMES)))
    table["all"] = sum(table.values(), Counter())
    for what, counts in table.items():
        print(f"{what:>16}" + "".join(f"{counts[outcome]:16}" for outcome in OUTCOMES))
    if table["all"]["traceback"]:
        problems.append(f"{table['all']['traceback']} tracebacks; expected none")
    if table["nothing"]["loaded"] != table["nothing"].total():
        problems.append("healthy files were refused; expected all loaded")
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
