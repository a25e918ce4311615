"""recogniser and manifest -> log_probs of its utterances; files of texts and results."""

import hashlib
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asr.corpus.batching import bucket_sizes
from asr.corpus.manifest import Utterance, check_duration
from asr.corpus.recordings import load_utterance
from asr.errors import InputError
from asr.evaluation.provenance import commit, machine
from asr.evaluation.results import SystemResult
from asr.files import read_json, write_json, write_text
from asr.model import check_log_probs
from asr.recognizer import Recognizer
from asr.scoring.error_rates import align_words, alignment_text
from asr.scoring.transcripts import write_trn

BATCH_S = 120.0
"""Maximum length of a batch in seconds of audio, padding included."""


@dataclass(frozen=True)
class Recognised:
    """The acoustic model's output for the utterances of a manifest.

    Args:
        utterances: the utterances, in the manifest's order.
        log_probs: one tensor for each utterance, (T, C), float32.
        audio_s: total duration of the audio, in seconds.
        seconds: computing time in seconds, including the reading of audio.
    """

    utterances: Sequence[Utterance]
    log_probs: list[Tensor]
    audio_s: float
    seconds: float

    @property
    def references(self) -> list[str]:
        """The reference texts of the utterances."""
        return [utterance.text for utterance in self.utterances]


def recognise_manifest(
    recognizer: Recognizer, utterances: Sequence[Utterance], check_durations: bool = True
) -> Recognised:
    """Compute the log-probabilities of a manifest's utterances.

    Args:
        recognizer: recogniser of the acoustic model.
        utterances: the utterances of the manifest.
        check_durations: whether to raise an error for the first audio file that is not as long as
            the manifest says. Use False if the caller reports all such files itself.

    Returns:
        recognised: the log-probabilities, in the order of `utterances`.

    Raises:
        InputError: there is no utterance, an audio file can't be used or is not as long as the
            manifest says, or the model gives NaN for an utterance.
    """
    if not utterances:
        raise InputError("the manifest has no utterance; expected at least one")
    started = time.perf_counter()
    found: dict[int, Tensor] = {}
    samples = 0
    durations = [utterance.duration for utterance in utterances]
    order = np.argsort(durations, kind="stable")
    for indices in np.split(order, np.cumsum(bucket_sizes(durations, BATCH_S))[:-1]):
        bucket = [utterances[index] for index in indices]
        waveforms = [load_utterance(utterance, recognizer.sample_rate) for utterance in bucket]
        for utterance, waveform in zip(bucket, waveforms, strict=True):
            recognizer.check_length(waveform, utterance.audio)
            if check_durations:
                check_duration(utterance, len(waveform) / recognizer.sample_rate)
        samples += sum(map(len, waveforms))
        rows = recognizer.log_probs(waveforms)
        for utterance, log_probs in zip(bucket, rows, strict=True):
            check_log_probs(log_probs, utterance.audio)
        # copied, because a row of a batch would keep the whole batch in memory
        found |= {int(i): log_probs.clone() for i, log_probs in zip(indices, rows, strict=True)}
    return Recognised(
        utterances,
        [found[index] for index in range(len(utterances))],
        samples / recognizer.sample_rate,
        time.perf_counter() - started,
    )


def refuse_others(out: Path, manifest: Path, utterances: Sequence[Utterance]) -> None:
    """Raise InputError if a folder has results of other utterances, which would be lost."""
    path = out / "references.txt"
    said = _reference_texts(utterances)
    if path.exists() and path.read_text("utf-8", errors="replace") != _lines(said):
        raise InputError(
            f"{out}: has results of other utterances than those of {manifest}; expected another"
            " --out, or this folder removed"
        )


def write_texts(
    out: Path, utterances: Sequence[Utterance], hypotheses: Sequence[str], name: str
) -> None:
    """Write references and hypotheses as `id text` lines, as sclite's .trn, and their alignments.

    If a text has characters that are markup to sclite, the .trn file is left out, with a message on
    stderr.

    Args:
        out: folder of the files; created if it doesn't exist.
        utterances: the utterances with their reference texts.
        hypotheses: the recognised texts, one for each utterance.
        name: name of the system, used in the files' names.
    """
    out.mkdir(parents=True, exist_ok=True)
    said = _reference_texts(utterances)
    recognised = {u.id: text for u, text in zip(utterances, hypotheses, strict=True)}
    for stem, texts in (("references", said), (f"hypotheses.{name}", recognised)):
        write_text(out / f"{stem}.txt", _lines(texts))
        try:
            write_trn(out / f"{stem}.trn", texts)
        except ValueError as error:
            print(f"{out / stem}.trn: not written: {error}", file=sys.stderr)
    alignments = align_words(list(said.values()), list(recognised.values()))
    aligned = [f"{id}\n{alignment_text(a)}\n\n" for id, a in zip(said, alignments, strict=True)]
    write_text(out / f"alignments.{name}.txt", "".join(aligned))


def _reference_texts(utterances: Sequence[Utterance]) -> dict[str, str]:
    return {utterance.id: utterance.text for utterance in utterances}


def _lines(texts: Mapping[str, str]) -> str:
    # split() joins texts over line ends, which a model may have learned as characters
    return "".join(f"{' '.join([id, *text.split()])}\n" for id, text in texts.items())


def write_results(
    out: Path,
    model: Path,
    manifest: Path,
    systems: Sequence[SystemResult],
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Write `results.json`: results with the model, manifest, commit and machine behind them.

    Systems that are already in the file stay, if they have another name and the same model and
    manifest. A system with the same name is replaced. Systems of another model, other weights or
    another manifest are removed, and a line on stderr names them.

    Args:
        out: folder of the file.
        model: folder of the measured model.
        manifest: path of the manifest.
        systems: results, one for each way of decoding.
        device: device that the model ran on.

    Returns:
        values: the content of the file. Infinite rates are null, and values that a system doesn't
            have are left out. A system that was already in the file has its own "commit" and
            "machine" if they differ from the current ones.
    """
    out.mkdir(parents=True, exist_ok=True)
    measured = {
        "model": str(model),
        "manifest": str(manifest),
        "sha256": {
            "weights": _sha256(model / "weights.safetensors"),
            "manifest": _sha256(manifest),
        },
    }
    origin = {"commit": commit(), "machine": machine(device)}
    found = {system.name: _plain(system) for system in systems}
    kept = _kept(out / "results.json", measured, origin, found)
    values = measured | origin | {"systems": list((kept | found).values())}
    write_json(out / "results.json", values)
    return values


def _plain(system: SystemResult) -> dict[str, Any]:
    values = asdict(system)
    optional = {field.name for field in fields(system) if field.default is None}
    return {
        name: None if isinstance(value, float) and math.isinf(value) else value
        for name, value in values.items()
        if not (name in optional and value is None)
    }


def _kept(
    path: Path, measured: dict[str, Any], origin: dict[str, str], found: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """The systems already in the file, by name, if they are of the same model and manifest."""
    if not path.exists():
        return {}
    try:
        before = read_json(path)
        systems = {system["name"]: system for system in before["systems"]}
        others = {name: before[name] for name in origin if before[name] != origin[name]}
    except (ValueError, KeyError, TypeError):
        print(f"{path}: had no results that can be read; written anew", file=sys.stderr)
        return {}
    if any(before.get(name) != value for name, value in measured.items()):
        if lost := ", ".join(name for name in systems if name not in found):
            print(
                f"{path}: {lost} left out: of another model, other weights or another manifest",
                file=sys.stderr,
            )
        return {}
    return {name: others | system for name, system in systems.items()}


def _sha256(path: Path) -> str:
    """The SHA-256 of a file; "" if it doesn't exist."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def table(results: Sequence[SystemResult]) -> list[str]:
    """Lines that compare the systems of one manifest, for people to read."""
    width = max(len(result.name) for result in results)
    lines = []
    for r in results:
        line = (
            f"{r.name:{width}}  WER {r.wer:7.2%} ({r.wer_low:.2%} to {r.wer_high:.2%}),"
            f" CER {r.cer:6.2%}; {r.substitutions} substitutions, {r.deletions} deletions,"
            f" {r.insertions} insertions in {r.words} words;"
            f" real-time factor {r.real_time_factor:.4f}, {r.peak_memory_mb:.0f} MiB"
        )
        if r.gain is not None:
            line += f"; {_gain(r.gain, r.gain_low, r.gain_high)} {r.over}, p {r.p:.4f}"
        lines.append(line)
    return lines


def _gain(gain: float, low: float | None, high: float | None) -> str:
    """The gain in words, such as "1.20% (0.80% to 1.60%) below"."""
    assert low is not None
    assert high is not None
    if gain < 0:
        return f"{-gain:.2%} ({-high:.2%} to {-low:.2%}) above"
    return f"{gain:.2%} ({low:.2%} to {high:.2%}) below"
