"""A model, its corpora and its results -> the model card, `README.md` in the model's folder.

The card's tables can be read again: `asr info` shows its licences.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from asr.decoder import DecoderSettings
from asr.errors import InputError, listed
from asr.files import file_digest, read_json, read_text
from asr.folder import MAX_JSON_BYTES, WEIGHTS, check_bytes

CARD = "README.md"
"""File of the model card in a model's folder."""

LICENCES = ("corpus", "licence")
"""First columns of the card's table of licences."""

_HOURS = ("corpus", "train: utterances", "hours")
_RATES = ("wer", "wer_low", "wer_high", "cer")
_NEWER = ("cer_low", "cer_high")  # which earlier results do not have
_SAYS = "## What a published model has to say"


class Corpora(NamedTuple):
    """What a card says of the training data.

    Args:
        hours: rows of corpus, number of utterances, hours; the last one is their sum.
        licences: the licences and the names that have to be given, as Markdown.
    """

    hours: list[list[str]]
    licences: str


class Measured(NamedTuple):
    """The error rates of a model, as it decodes, on a test set.

    Args:
        test_set: the manifest's folder and name.
        system: the values of `asr.evaluation.results.SystemResult`, by name.
        origin: commit and machine.
    """

    test_set: str
    system: dict[str, Any]
    origin: str


@dataclass(frozen=True)
class CardFacts:
    """What a card says of a model.

    Args:
        kind: title of the kind of model.
        rows: description of the model, names with values.
        size_mb: megabytes of the model's files.
        corpora: the training data, if they are described.
        measured: the error rates.
        is_rounded: whether the weights were rounded after they were measured.
        limits: what the model can't do or does badly, as Markdown; may be empty.
    """

    kind: str
    rows: Sequence[tuple[str, str]] = ()
    size_mb: float = 0.0
    corpora: Corpora | None = None
    measured: Sequence[Measured] = ()
    is_rounded: bool = False
    limits: str = ""


def read_corpora(path: Path, hours: Any) -> Corpora:
    """Read the hours and the licences of the training data from a corpus's `README.md`.

    If there is `hours.md` beside it, the table of hours is read from there: it has those that were
    prepared here.

    Args:
        path: for example `data/en-small/README.md`.
        hours: the hours that the model was trained on, as its description has them.

    Raises:
        InputError: the file can't be read; has no table of the hours of training, no section "What
            a published model has to say", or no table of licences in it; or its hours differ by
            more than 1 % from the model's.
    """
    text = re.sub(r"\[([^]]*)\]\((?!https?:)[^)]*\)", r"\1", read_text(path))  # links to its files
    prepared = path.with_name("hours.md")
    place = prepared if prepared.exists() else path
    rows = _table(read_text(prepared) if prepared.exists() else text, _HOURS)
    if not rows:
        raise InputError(f"{place}: has no table of hours; expected one of {' | '.join(_HOURS)}")
    licences = _section(text, _SAYS)
    if not _table(licences, LICENCES):
        columns = " | ".join(LICENCES)
        raise InputError(
            f"{path}: has no table of licences; expected one of {columns} below {_SAYS!r}"
        )
    total = _number(rows[-1][2])
    if total is None or not isinstance(hours, int | float) or abs(total - hours) > 0.01 * total:
        raise InputError(
            f"{place}: has {rows[-1][2]} hours for training; expected those of the model, {hours}"
        )
    return Corpora(rows, licences)


def read_measured(path: Path, folder: Path, settings: DecoderSettings) -> Measured:
    """Read the error rates of a model, as it decodes, from a `results.json`.

    Args:
        path: a file written by `recipes/evaluate.py`.
        folder: the model's folder.
        settings: how the model decodes.

    Raises:
        InputError: the file is not results, or those of other weights or only of other decoders.
    """
    check_bytes(path, MAX_JSON_BYTES)
    match read_json(path, "results"):
        case {
            "manifest": str(manifest),
            "sha256": {"weights": str(digest)},
            "commit": str(commit),
            "machine": str(machine),
            "systems": [_, *_] as systems,
        } if all(map(_is_system, systems)):
            pass
        case _:
            raise InputError(f"{path}: has no manifest, weights or error rates; expected results")
    if digest != file_digest(folder / WEIGHTS):
        raise InputError(f"{path}: is of other weights; expected results of {folder / WEIGHTS}")
    own = [system for system in systems if _decoding(system) == _numbers(asdict(settings))]
    if not own:
        raise InputError(
            f"{path}: has {listed([system['name'] for system in systems])}, none of which decodes"
            f" as {folder} does; expected results with the weights of its decoding.json"
        )
    test_set = "/".join(Path(manifest).with_suffix("").parts[-2:])
    return Measured(test_set, own[0], f"commit {commit}, {machine}")


def model_card(name: str, facts: CardFacts) -> str:
    """The model card, as Markdown for people who know neither the model nor the package.

    Args:
        name: the model's name.
        facts: what is known of the model.
    """
    lines = [
        f"# {name}",
        "",
        f"A model for speech recognition with the Python package `asr-ctc`, of kind {facts.kind}.",
        "It turns recordings into text, and finds the times of the words of a text:",
        "",
        f"    asr transcribe --model {name} talk.mp3",
        f"    asr align --model {name} talk.mp3 talk.txt",
    ]
    if facts.limits:
        lines += ["", "## Limits", "", facts.limits.strip()]
    lines += ["", "## Error rates", "", *_error_rates(facts)]
    lines += ["", "## Training data", "", *_training_data(facts.corpora)]
    lines += ["", "## Licences and names to be given", ""]
    lines += [facts.corpora.licences if facts.corpora else "Not stated."]
    lines += ["", "## Settings", "", f"The files have {facts.size_mb:.1f} MB.", ""]
    lines += [f"    {row:<12}{value}" for row, value in facts.rows]
    return "\n".join(lines) + "\n"


def licences_of(card: str) -> list[tuple[str, str]]:
    """Corpus and licence of each row of a card's table of licences; none without a table."""
    return [(corpus, licence) for corpus, licence in _table(card, LICENCES)]


def _error_rates(facts: CardFacts) -> list[str]:
    if not facts.measured:
        return ["Not measured."]
    lines = [
        "WER and CER are the shares of wrong words and characters, in percent. In brackets is the",
        "95 % confidence interval, from a bootstrap over the recordings.",
        "",
        "| test set | recordings | words | WER | CER |",
        "|---|---:|---:|---:|---:|",
    ]
    for test_set, system, _ in facts.measured:
        rates = {rate: _percent(system[rate]) for rate in (*_RATES, *_NEWER) if rate in system}
        sizes = f"{system['utterances']:,} | {system['words']:,}"
        cells = [_with_interval(rates, rate) for rate in ("wer", "cer")]
        lines.append(f"| {test_set} | {sizes} | {' | '.join(cells)} |")
    origins = dict.fromkeys(measured.origin for measured in facts.measured)
    lines += ["", f"Measured with `recipes/evaluate.py`: {'; '.join(origins)}."]
    if facts.is_rounded:
        lines += ["The weights were rounded to 16 bits afterwards."]
    return lines


def _training_data(corpora: Corpora | None) -> list[str]:
    if corpora is None:
        return ["Not described."]
    rows = [f"| {' | '.join(row)} |" for row in corpora.hours]
    return ["| corpus | utterances | hours |", "|---|---:|---:|", *rows]


def _with_interval(rates: Mapping[str, str], name: str) -> str:
    if f"{name}_low" not in rates:
        return rates[name]
    return f"{rates[name]} ({rates[f'{name}_low']} to {rates[f'{name}_high']})"


def _percent(rate: float | None) -> str:
    return "infinite" if rate is None else f"{100 * rate:.2f}"


def _is_system(values: Any) -> bool:
    match values:
        case {"name": str(), "words": int(), "utterances": int(), **more}:
            rates = [more.get(rate, "missing") for rate in _RATES]
            rates += [more.get(rate) for rate in _NEWER]
            is_rated = all(rate is None or isinstance(rate, int | float) for rate in rates)
            return is_rated and isinstance(more.get("decoding", {}), dict)
    return False


def _decoding(system: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers that a system of `results.json` decodes with; greedy search has none there."""
    is_greedy = system["name"] == "greedy"
    return _numbers({"decoder": "greedy"} if is_greedy else system.get("decoding", {}))


def _numbers(decoding: Mapping[str, Any]) -> dict[str, Any]:
    """The weights and the search of decoder settings, without paths of files."""
    if decoding.get("decoder") == "greedy":
        return {"decoder": "greedy"}
    beam, lm_weights = dict(decoding.get("beam", {})), list(decoding.get("lm_weights", ()))
    if not lm_weights:
        beam.pop("n_best", None)  # without rescoring only the best one counts
    return {
        "decoder": decoding.get("decoder"),
        "beam": beam,
        "has_lm": bool(decoding.get("lm")),
        "lm_weights": lm_weights,
        "word_bonus": decoding.get("word_bonus"),
    }


def _section(text: str, heading: str) -> str:
    """The text below a heading of Markdown, up to the next one; "" without the heading."""
    _, _, below = f"\n{text}".partition(f"\n{heading}\n")
    return re.split(r"^#{1,2} ", below, maxsplit=1, flags=re.MULTILINE)[0].strip()


def _table(text: str, columns: Sequence[str]) -> list[list[str]]:
    """The cells below these names in the first Markdown table that begins with these columns."""
    width, lines = len(columns), text.splitlines()
    for number, line in enumerate(lines):
        if _cells(line)[:width] == list(columns):
            rows = takewhile(lambda row: row.startswith("|"), lines[number + 2 :])
            return [(_cells(row) + [""] * width)[:width] for row in rows]
    return []


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().removeprefix("|").split("|")]


def _number(cell: str) -> float | None:
    return float(cell) if re.fullmatch(r"\d+(\.\d+)?", cell) else None
