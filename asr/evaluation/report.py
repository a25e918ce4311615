"""results.json and its texts -> error rates of models, their means and comparisons."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from asr.errors import InputError
from asr.folder import inside, read_json_inside
from asr.scoring.bootstrap import bootstrap_interval, paired_gain
from asr.scoring.error_rates import ErrorCounts, character_errors, word_errors
from asr.scoring.transcripts import read_pairs


@dataclass(frozen=True)
class Scored:
    """The errors of one decoded system on a manifest, counted from its texts.

    Args:
        words: word errors of each utterance.
        characters: character errors of each utterance.
        over: name of the system that `results.json` compares it with, if any.
        real_time_factor: seconds of computing time per second of audio.
    """

    words: list[ErrorCounts]
    characters: list[ErrorCounts]
    over: str | None
    real_time_factor: float

    @property
    def wer(self) -> float:
        """Word error rate, a fraction."""
        return sum(self.words, ErrorCounts()).rate

    @property
    def cer(self) -> float:
        """Character error rate, a fraction."""
        return sum(self.characters, ErrorCounts()).rate


def report(folders: Sequence[Path]) -> list[str]:
    """Lines with the error rates of models that differ only in their seed, and with their means.

    Each way of decoding has a line for each model and, for several models, one for their mean. The
    mean's confidence interval is over utterances, with the errors of all models summed for each
    utterance. The standard deviation is over models. The gain over another way of decoding is given
    if `results.json` has one.

    Args:
        folders: folders of results, one for each model, on the same manifest, as written by
            `write_texts` and `write_results`.

    Raises:
        InputError: a folder's `results.json` can't be used.
    """
    found = {folder: scored(folder) for folder in folders}
    names = dict.fromkeys(name for systems in found.values() for name in systems)
    lines: list[str] = []
    for name in names:
        models = {folder: systems for folder, systems in found.items() if name in systems}
        lines += [f"{folder}: {_line(name, [systems])}" for folder, systems in models.items()]
        if len(models) > 1:
            lines.append(f"mean of {len(models)}: {_line(name, list(models.values()))}")
    return lines


@dataclass(frozen=True)
class TableRow:
    """A model, or several that differ only in their seed, as a row of a table.

    Args:
        name: name in the table.
        folders: folders of results, one for each model.
        n_parameters: number of parameters of one model.
        minutes: training time of one model.
        alignment: source of the alignments used in training.
    """

    name: str
    folders: Sequence[Path]
    n_parameters: int
    minutes: float
    alignment: str

    @property
    def ways(self) -> list[str]:
        """Names of the ways of decoding, without oracles."""
        names = [system["name"] for system in _systems(self.folders[0])]
        return [name for name in names if not name.endswith("oracle")]


def markdown(systems: Sequence[TableRow], ways: Sequence[str], of_phones: bool) -> list[str]:
    """The lines of a Markdown table that compares systems on the same manifest.

    Rates are means over a system's models, confidence intervals are over utterances, and standard
    deviations over models. p comes from a paired test against the last system with the same way of
    decoding.

    Args:
        systems: the systems, in the table's order.
        ways: names of ways of decoding, in the table's order; a system may lack some.
        of_phones: whether the texts are phones; the table then has phone error rates only.
    """
    rates = ["PER % (95 %)"] if of_phones else ["CER % (95 %)", "WER % (95 %)"]
    columns = ["model", "decoding", *rates, "p", "parameters", "minutes", "real-time factor"]
    lines = [
        f"| {' | '.join(columns)} | alignment |",
        f"|---|---{'|---:' * (len(columns) - 2)}|---|",
    ]
    found = [[scored(folder) for folder in system.folders] for system in systems]
    for system, models in zip(systems, found, strict=True):
        for way in ways:
            if all(way in model for model in models):
                cells = _cells(system, models, way, found[-1])
                lines.append(f"| {' | '.join(cells[:2] + cells[2 + of_phones :])} |")
    return lines


def _cells(
    system: TableRow,
    models: Sequence[dict[str, Scored]],
    way: str,
    others: Sequence[dict[str, Scored]],
) -> list[str]:
    of_way = [model[way] for model in models]
    rates = [model.wer for model in of_way]
    wer = _percent(mean(rates), pooled(model.words for model in of_way))
    wer += f", deviation {100 * stdev(rates):.2f}" if len(rates) > 1 else ""
    p = ""
    if others is not models and all(way in other for other in others):
        # repeated so that both sides have the same number of words in each utterance
        mine = pooled([model.words for model in of_way] * len(others))
        theirs = pooled([other[way].words for other in others] * len(models))
        p = f"{paired_gain(mine, theirs).p:.4f}"
    return [
        system.name,
        way,
        _percent(mean(model.cer for model in of_way), pooled(m.characters for m in of_way)),
        wer,
        p,
        f"{system.n_parameters:,}",
        f"{system.minutes:.1f}",
        f"{mean(model.real_time_factor for model in of_way):.3f}",
        system.alignment,
    ]


def _percent(rate: float, counts: Sequence[ErrorCounts]) -> str:
    """A rate with its interval over utterances, in percent."""
    low, high = bootstrap_interval(counts)
    return f"{100 * rate:.2f} ({100 * low:.2f} to {100 * high:.2f})"


def scored(folder: Path) -> dict[str, Scored]:
    """The systems of a folder by name, with errors counted from the folder's texts.

    Args:
        folder: has `results.json`, `references.txt` and `hypotheses.NAME.txt`.

    Raises:
        InputError: a file is missing or can't be used.
    """
    found = {}
    for system in _systems(folder):
        name = system["name"]
        texts = inside(folder, "references.txt"), inside(folder, f"hypotheses.{name}.txt")
        pairs = read_pairs(*texts, with_ids=True)
        found[name] = Scored(
            words=word_errors(pairs.references, pairs.hypotheses),
            characters=character_errors(pairs.references, pairs.hypotheses),
            over=system.get("over"),
            real_time_factor=system["real_time_factor"],
        )
    return found


def _systems(folder: Path) -> list[dict[str, Any]]:
    """The systems of `results.json`, each with a name and a real-time factor.

    Raises:
        InputError: the file can't be read, or has no such systems.
    """
    values = read_json_inside(folder, "results.json", "results")
    match values:
        case {"systems": [*systems]} if all(map(_is_system, systems)):
            return systems
    raise InputError(f"{folder / 'results.json'}: has no systems with names; expected results")


def _is_system(values: Any) -> bool:
    match values:
        case {"name": str(), "real_time_factor": int() | float()}:
            return isinstance(values.get("over", ""), str)
    return False


def pooled(counts: Iterable[Sequence[ErrorCounts]]) -> list[ErrorCounts]:
    """Each utterance's counts, summed over models."""
    return [sum(each, ErrorCounts()) for each in zip(*counts, strict=True)]


def _line(name: str, models: list[dict[str, Scored]]) -> str:
    """The error rates of one model, or the means of several, in one line."""
    systems = [model[name] for model in models]
    rates = [system.wer for system in systems], [system.cer for system in systems]
    deviations = [f", standard deviation {stdev(r):.2%}" if len(r) > 1 else "" for r in rates]
    words = pooled(system.words for system in systems)
    characters = pooled(system.characters for system in systems)
    intervals = [
        f" (95 %: {low:.2%} to {high:.2%})"
        for low, high in map(bootstrap_interval, (words, characters))
    ]
    line = (
        f"{name}: WER {mean(rates[0]):.2%}{intervals[0]}{deviations[0]};"
        f" CER {mean(rates[1]):.2%}{intervals[1]}{deviations[1]}"
    )
    over = systems[0].over
    if over is not None and all(over in model for model in models):
        found = paired_gain(words, pooled(model[over].words for model in models))
        line += f"; gain over {over} {found.gain:.2%}"
        line += f" (95 %: {found.low:.2%} to {found.high:.2%}; p {found.p:.4f})"
    return line
