"""recogniser and manifest -> hypotheses beside references, error rates, speed and memory."""

import json
import math
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch

from asr.audio import load_audio
from asr.batching import bucket_sizes
from asr.bootstrap import bootstrap_interval
from asr.errors import InputError
from asr.manifest import Utterance
from asr.recognizer import Recognizer, Transcript
from asr.transcripts import read_pairs, write_trn
from asr.wer import (
    ErrorCounts,
    align_characters,
    align_words,
    alignment_text,
    character_errors,
    count_errors,
    word_errors,
)

BATCH_S = 120.0
"""Seconds of audio recognised at once, padding included."""


@dataclass(frozen=True)
class SystemResult:
    """How one way of decoding did on one manifest.

    Args:
        name: of the way of decoding.
        wer: pooled over all words; a fraction, infinite where there are errors but no words.
        wer_low: lower end of the 95 % bootstrap interval over utterances.
        wer_high: its upper end.
        cer: likewise of characters, the blanks between words included.
        substitutions: of words; so are the next two.
        deletions: words not recognised.
        insertions: words not said.
        words: of the references.
        utterances: how many.
        wrong_utterances: with an error in them.
        audio_s: seconds of audio.
        real_time_factor: seconds of work for a second of audio, reading it included.
        peak_memory_mb: of the process, in MiB.
    """

    name: str
    wer: float
    wer_low: float
    wer_high: float
    cer: float
    substitutions: int
    deletions: int
    insertions: int
    words: int
    utterances: int
    wrong_utterances: int
    audio_s: float
    real_time_factor: float
    peak_memory_mb: float


def transcribe_all(
    recognizer: Recognizer, utterances: Sequence[Utterance]
) -> tuple[list[Transcript], float]:
    """The transcripts of a manifest's utterances, in its order, and the seconds it took.

    Raises:
        InputError: an audio file can't be used.
    """
    started = time.perf_counter()
    transcripts: dict[int, Transcript] = {}
    durations = [utterance.duration for utterance in utterances]
    order = np.argsort(durations, kind="stable")
    for indices in np.split(order, np.cumsum(bucket_sizes(durations, BATCH_S))[:-1]):
        paths = [utterances[index].audio for index in indices]
        waveforms = [load_audio(path, recognizer.sample_rate) for path in paths]
        for path, waveform in zip(paths, waveforms, strict=True):
            recognizer.check_length(waveform, path)
        for index, log_probs, waveform in zip(
            indices, recognizer.log_probs(waveforms), waveforms, strict=True
        ):
            transcripts[int(index)] = recognizer.transcript(log_probs, len(waveform))
    seconds = time.perf_counter() - started
    return [transcripts[index] for index in range(len(utterances))], seconds


def evaluate(
    recognizer: Recognizer, utterances: Sequence[Utterance], name: str
) -> tuple[SystemResult, list[Transcript]]:
    """Recognise a manifest's utterances and compare with their texts.

    Raises:
        InputError: there is no utterance, or an audio file can't be used.
    """
    if not utterances:
        raise InputError("the manifest has no utterance; expected at least one")
    transcripts, seconds = transcribe_all(recognizer, utterances)
    references = [utterance.text for utterance in utterances]
    hypotheses = [transcript.text for transcript in transcripts]
    counts = [count_errors(alignment) for alignment in align_words(references, hypotheses)]
    pooled = sum(counts, ErrorCounts())
    characters = sum(map(count_errors, align_characters(references, hypotheses)), ErrorCounts())
    low, high = bootstrap_interval(counts)
    audio_s = sum(transcript.duration for transcript in transcripts)
    result = SystemResult(
        name=name,
        wer=pooled.rate,
        wer_low=low,
        wer_high=high,
        cer=characters.rate,
        substitutions=pooled.substitutions,
        deletions=pooled.deletions,
        insertions=pooled.insertions,
        words=pooled.words,
        utterances=len(utterances),
        wrong_utterances=sum(count.errors > 0 for count in counts),
        audio_s=round(audio_s, 2),
        real_time_factor=round(seconds / audio_s, 5),
        peak_memory_mb=round(_peak_memory_mb(), 1),
    )
    return result, transcripts


def write_texts(
    out: Path, utterances: Sequence[Utterance], transcripts: Sequence[Transcript], name: str
) -> None:
    """Write references and hypotheses as `id text` lines and as sclite's .trn, and aligned.

    A .trn whose texts have signs that sclite would take for its own is left out, and that is said
    on stderr.
    """
    out.mkdir(parents=True, exist_ok=True)
    said = {utterance.id: utterance.text for utterance in utterances}
    heard = {u.id: t.text for u, t in zip(utterances, transcripts, strict=True)}
    for stem, texts in (("references", said), (f"hypotheses.{name}", heard)):
        lines = [f"{id} {text}".rstrip() + "\n" for id, text in texts.items()]
        (out / f"{stem}.txt").write_text("".join(lines), "utf-8")
        try:
            write_trn(out / f"{stem}.trn", texts)
        except ValueError as error:
            print(f"{out / stem}.trn: not written: {error}", file=sys.stderr)
    alignments = align_words(list(said.values()), list(heard.values()))
    aligned = [f"{id}\n{alignment_text(a)}\n\n" for id, a in zip(said, alignments, strict=True)]
    (out / f"alignments.{name}.txt").write_text("".join(aligned), "utf-8")


def write_results(
    out: Path,
    model: Path,
    manifest: Path,
    systems: Sequence[SystemResult],
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Write `results.json`: the figures with all that is needed to believe them.

    Args:
        out: folder of the file.
        model: what was measured.
        manifest: what it was measured on.
        systems: one for each way of decoding.
        device: where the model ran.

    Returns:
        values: what is in the file; there a rate that is infinite is null.
    """
    out.mkdir(parents=True, exist_ok=True)
    values = {
        "model": str(model),
        "manifest": str(manifest),
        "commit": commit(),
        "machine": machine(device),
        "systems": [
            {name: None if value == math.inf else value for name, value in asdict(system).items()}
            for system in systems
        ],
    }
    text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False)
    (out / "results.json").write_text(text + "\n", "utf-8")
    return values


def report(folders: Sequence[Path]) -> list[str]:
    """Lines that say how models did that differ in their seed alone, and how they did together.

    The mean's interval is over utterances, each drawn with the errors of all models; the deviation
    is over models.

    Args:
        folders: what `write_texts` and `write_results` wrote for each, on the same manifest.
    """
    lines: list[str] = []
    words: list[list[ErrorCounts]] = []  # of each model, of each utterance
    wer: list[float] = []
    cer: list[float] = []
    for folder in folders:
        name = json.loads((folder / "results.json").read_text("utf-8"))["systems"][0]["name"]
        texts = (folder / "references.txt", folder / f"hypotheses.{name}.txt")
        pairs = read_pairs(*texts, with_ids=True)
        words.append(word_errors(pairs.references, pairs.hypotheses))
        wer.append(sum(words[-1], ErrorCounts()).rate)
        characters = character_errors(pairs.references, pairs.hypotheses)
        cer.append(sum(characters, ErrorCounts()).rate)
        low, high = bootstrap_interval(words[-1])
        interval = f"95 %: {low:.2%} to {high:.2%}"
        lines.append(f"{folder}: WER {wer[-1]:.2%} ({interval}), CER {cer[-1]:.2%}")
    if len(folders) > 1:
        pooled = [sum(same, ErrorCounts()) for same in zip(*words, strict=True)]
        low, high = bootstrap_interval(pooled)
        lines.append(
            f"mean of {len(folders)}: WER {mean(wer):.2%} (95 %: {low:.2%} to {high:.2%}),"
            f" standard deviation {stdev(wer):.2%};"
            f" CER {mean(cer):.2%}, standard deviation {stdev(cer):.2%}"
        )
    return lines


def commit() -> str:
    """The source's commit, with + behind it where files differ from it; empty outside git."""
    here = Path(__file__)
    # installed somewhere below another project's repository, that one's commit says nothing
    if not _git("ls-files", "--error-unmatch", here.name, folder=here.parent):
        return ""
    return _git("describe", "--always", "--abbrev=12", "--dirty=+", folder=here.parent)


def _git(*arguments: str, folder: Path) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    except OSError:
        return ""
    return "" if done.returncode else done.stdout.strip()


def machine(device: torch.device | str) -> str:
    """What a device's figures of speed were measured on."""
    if torch.device(device).type == "cuda":
        processor = torch.cuda.get_device_name(device)
    else:
        processor = f"{_processor()}, {torch.get_num_threads()} threads"
    python = platform.python_version()
    return f"{processor}, {platform.system()}, Python {python}, torch {torch.__version__}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _peak_memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
