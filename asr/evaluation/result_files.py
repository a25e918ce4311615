"""texts and results of systems -> files of a folder: transcripts, alignments, results.json."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from asr.corpus.manifest import Utterance
from asr.errors import InputError
from asr.evaluation.provenance import commit, machine
from asr.evaluation.results import SystemResult
from asr.files import file_digest, read_json, write_json, write_text
from asr.folder import WEIGHTS
from asr.scoring.error_rates import align_words, alignment_text
from asr.scoring.transcripts import write_trn


def refuse_others(out: Path, manifest: Path, utterances: Sequence[Utterance]) -> None:
    """Raise InputError if a folder has results of other utterances, which would be lost."""
    path = out / "references.txt"
    said = _reference_texts(utterances)
    if path.exists() and path.read_text("utf-8", errors="replace") != _lines(said):
        raise InputError(
            f"{out}: has results of other utterances than those of {manifest}; expected another"
            " --out; or remove this folder first"
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
            "weights": _digest(model / WEIGHTS),
            "manifest": _digest(manifest),
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
        print(f"{path}: could not be read as results; it is replaced", file=sys.stderr)
        return {}
    if any(before.get(name) != value for name, value in measured.items()):
        if lost := ", ".join(name for name in systems if name not in found):
            print(
                f"{path}: removed {lost}: of another model, other weights or another manifest",
                file=sys.stderr,
            )
        return {}
    return {name: others | system for name, system in systems.items()}


def _digest(path: Path) -> str:
    """The SHA-256 of a file; "" if it doesn't exist."""
    return file_digest(path) if path.is_file() else ""
