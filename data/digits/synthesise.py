"""Two synthesisers -> the digits corpus: audio/<speaker>/<id>.opus and transcripts.tsv.

    python data/digits/synthesise.py --out DIR

It needs espeak-ng, flite and opusenc (Debian: espeak-ng, flite, opus-tools). The same versions of
these programs give the same files. The corpus was made once; `prepare.py` checks its files.
"""

import argparse
import io
import shutil
import subprocess
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import soundfile
import soxr

from asr.errors import InputError, reported
from asr.files import file_digest, write_text

SAMPLE_RATE = 16_000
BITRATE = 14  # kbit/s on average
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
LENGTHS = (2, 3, 4, 5, 6, 7)  # digits in a string; each speaker says equally many of each length
STRINGS_PER_SPEAKER = {"train": 18, "dev": 12, "test": 18}
ACCENTS = (
    "en-us en-gb en-gb-scotland en-us en-gb-x-rp en-029 en-us en-gb-x-gbclan en-us-nyc"
    " en-gb-x-gbcwmd"
)  # taken in turn

# A variant of espeak-ng is a vocal tract (formants, source, pitch), so it belongs to one split
# only, whatever its accent; so do families of near-equal variants (f2 and f5, Denis and Gene).
VARIANTS = {
    "train": (
        "f1 m1 f3 m3 klatt Alex f4 m4 pablo linda klatt2 m5 belinda pedro Mario grandma m8 klatt3"
        " Annie paul Michael anika boris klatt4 Alicia croak john zac ed iven norbert Nguyen"
        " antonio max marcelo"
    ),
    "dev": "steph victor klatt5 shelby sandro",
    "test": "f2 m2 adam Andrea Denis robert aunty michel m6",
}
# Voice of flite -> warps: 1.15 raises pitch and formants by 15 %, as of a smaller speaker.
FLITE: dict[str, dict[str, tuple[float, ...]]] = {
    "train": {"kal16": (1.0, 1.15), "awb": (1.0, 1.15, 1.3), "kal": (1.0,)},
    "dev": {"rms": (1.0,)},
    "test": {"slt": (1.0,)},
}


@dataclass(frozen=True)
class Voice:
    """One speaker.

    Args:
        speaker: name, unique in the corpus.
        engine: "espeak-ng" or "flite".
        name: the engine's name of the voice.
        pitch: for espeak-ng from 0 to 99, where 50 is the variant's own pitch; for flite a factor.
        pitch_range: factor of the range of the melody (espeak-ng only).
        speed: factor; 1 is the usual speed.
        warp: factor of pitch and formants.
    """

    speaker: str
    engine: str
    name: str
    pitch: float
    pitch_range: float
    speed: float
    warp: float = 1.0


def voices(split: str, seed: int) -> list[Voice]:
    """The speakers of a split."""
    rng = np.random.default_rng([seed, *split.encode()])
    found = []
    for variant, accent in zip(VARIANTS[split].split(), cycle(ACCENTS.split()), strict=False):
        pitch, pitch_range, speed = rng.uniform((35, 0.4, 0.85), (65, 1.6, 1.05))
        speaker = f"espeak-{accent}-{variant.lower()}"
        found.append(Voice(speaker, "espeak-ng", f"{accent}+{variant}", pitch, pitch_range, speed))
    for name, warps in FLITE[split].items():
        for warp in warps:
            pitch, speed = rng.uniform((0.95, 0.9), (1.05, 1.05))
            speaker = f"flite-{name}" + (f"-x{round(100 * warp)}" if warp != 1 else "")
            found.append(Voice(speaker, "flite", name, pitch, 1.0, speed, warp))
    return found


def digit_strings(count: int, rng: np.random.Generator) -> list[list[str]]:
    """`count` strings with equally many of each length and, within one, of each digit."""
    lengths = rng.permutation(np.resize(LENGTHS, count))
    digits = rng.permutation(np.resize(rng.permutation(10), lengths.sum()))
    return [[WORDS[digit] for digit in part] for part in np.split(digits, np.cumsum(lengths)[:-1])]


def record(voice: Voice, words: list[str], rng: np.random.Generator) -> np.ndarray:
    """Words -> waveform (samples,) int16, with random reverberation, noise and level."""
    speech = _speak_groups(voice, words, rng)
    if rng.random() < 0.3:
        speech = _in_a_room(speech, decay_s=rng.uniform(0.1, 0.4), rng=rng)
    power = np.mean(speech**2)
    before, after = (rng.uniform(0.1, 0.5, size=2) * SAMPLE_RATE).astype(int)
    waveform = np.pad(speech, (before, after))
    noise = _noise(len(waveform), exponent=rng.choice([0.0, 1.0, 2.0]), rng=rng)
    snr_db = rng.uniform(10, 40)
    waveform += noise * np.sqrt(power * 10 ** (-snr_db / 10))
    level_db = rng.uniform(-32, -16)
    waveform *= min(
        np.sqrt(10 ** (level_db / 10) / np.mean(waveform**2)), 0.9 / np.abs(waveform).max()
    )
    return np.round(waveform * 32767).astype(np.int16)


def synthesise(out: Path, seed: int) -> None:
    """Write the whole corpus into a folder.

    Raises:
        InputError: a program is missing, or the folder holds audio already.
    """
    for program in ("espeak-ng", "flite", "opusenc"):
        if shutil.which(program) is None:
            raise InputError(f"{program}: is not on PATH; expected espeak-ng, flite and opusenc")
    if (out / "audio").exists():
        raise InputError(f"{out / 'audio'}: exists already; expected a folder without audio")
    lines = ["id\tsplit\tspeaker\tsamples\tdigest\ttext\n"]
    for split, count in STRINGS_PER_SPEAKER.items():
        for voice in voices(split, seed):
            rng = np.random.default_rng([seed, *voice.speaker.encode()])
            for number, words in enumerate(digit_strings(count, rng)):
                id = f"{voice.speaker}-{number:02d}"
                waveform = record(voice, words, rng)
                path = out / "audio" / voice.speaker / f"{id}.opus"
                digest = _encode(waveform, path, serial=len(lines))
                fields = (id, split, voice.speaker, str(len(waveform)), digest, " ".join(words))
                lines.append("\t".join(fields) + "\n")
    write_text(out / "transcripts.tsv", "".join(lines))


def _speak_groups(voice: Voice, words: list[str], rng: np.random.Generator) -> np.ndarray:
    """Speak half of the strings without a pause, the others in groups of digits with gaps."""
    ends = rng.random(len(words) - 1) < (0.0 if rng.random() < 0.5 else 0.4)
    groups = np.split(np.array(words), np.flatnonzero(ends) + 1)
    speed = voice.speed * rng.uniform(0.8, 1.2)
    shift = rng.uniform(-1, 1)
    parts = []
    for group in groups:
        parts.append(_speak(voice, " ".join(group), speed, shift))
        parts.append(np.zeros(int(rng.uniform(0.03, 0.35) * SAMPLE_RATE)))
    return np.concatenate(parts[:-1])


def _speak(voice: Voice, text: str, speed: float, shift: float) -> np.ndarray:
    """Text -> waveform without silence at its ends, loudest sample 1; `shift` of pitch, -1 to 1."""
    if voice.engine == "espeak-ng":
        pitch = round(voice.pitch + 10 * shift)
        text = f"<prosody range='{voice.pitch_range:.0%}'>{text}</prosody>"
        command = ["espeak-ng", "-m", "-v", voice.name, "-p", str(pitch)]
        command += ["-s", str(round(160 * speed)), "--stdout", text]
    else:
        pitch_factor = voice.pitch * (1 + 0.1 * shift)
        stretch = 1.15 * voice.warp / speed  # flite is the faster speaker
        command = ["flite", "-voice", voice.name, "--setf", f"f0_shift={pitch_factor:.3f}"]
        command += ["--setf", f"duration_stretch={stretch:.3f}", "-t", text]
        command += ["-o", "/dev/stdout"]
    audio = subprocess.run(command, check=True, capture_output=True).stdout
    waveform, rate = soundfile.read(io.BytesIO(audio))
    waveform = soxr.resample(waveform, rate * voice.warp, SAMPLE_RATE)
    loudest = np.abs(waveform).max()
    audible = np.flatnonzero(np.abs(waveform) > 0.01 * loudest)
    return waveform[audible[0] : audible[-1] + 1] / loudest


def _in_a_room(speech: np.ndarray, decay_s: float, rng: np.random.Generator) -> np.ndarray:
    """Speech with an echo of decaying noise, 60 dB lower after `decay_s`."""
    n_samples = int(decay_s * SAMPLE_RATE)
    response = rng.normal(size=n_samples) * 10 ** (-3 * np.arange(n_samples) / n_samples)
    response *= np.sqrt(10 ** (-rng.uniform(5, 15) / 10) / np.sum(response**2))  # 5 to 15 dB below
    response[0] = 1  # the direct sound
    n_fft = 1 << (len(speech) + n_samples).bit_length()
    spectrum = np.fft.rfft(speech, n_fft) * np.fft.rfft(response, n_fft)
    return np.fft.irfft(spectrum, n_fft)[: len(speech) + n_samples]


def _noise(n_samples: int, exponent: float, rng: np.random.Generator) -> np.ndarray:
    """Noise of power 1 that falls as frequency ** -exponent: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(rng.normal(size=n_samples))
    frequencies = np.fft.rfftfreq(n_samples, 1 / SAMPLE_RATE)
    noise = np.fft.irfft(spectrum * np.maximum(frequencies, 50) ** (-exponent / 2), n_samples)
    return noise / np.sqrt(np.mean(noise**2))


def _encode(waveform: np.ndarray, path: Path, serial: int) -> str:
    """Write an Ogg Opus file; return the first 16 hexadecimal digits of its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = "opusenc --quiet --speech --comp 10 --padding 0 --discard-comments --raw --raw-chan 1"
    options = ["--raw-rate", str(SAMPLE_RATE), "--bitrate", str(BITRATE), "--serial", str(serial)]
    subprocess.run(
        [*command.split(), *options, "-", str(path)],
        input=waveform.astype("<i2").tobytes(),
        check=True,
    )
    return file_digest(path)[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description="Synthesise the digits corpus.")
    parser.add_argument("--out", type=Path, required=True, help="folder without audio")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers (%(default)s)")
    arguments = parser.parse_args()
    with reported("synthesise"):
        synthesise(arguments.out, arguments.seed)


if __name__ == "__main__":
    main()
