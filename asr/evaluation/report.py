"""results.json and the texts beside it -> how models did, each and together, and against others."""

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
    """What one way of decoding made of a manifest, by its texts.

    Args:
        words: errors of each utterance.
        characters: likewise.
        over: the way of decoding that it is compared with in `results.json`, if any.
        real_time_factor: seconds of work for a second of audio.
    """

    words: list[ErrorCounts]
    characters: list[ErrorCounts]
    over: str | None
    real_time_factor: float

    @property
    def wer(self) -> float:
        """Word error rate."""
        return sum(self.words, ErrorCounts()).rate

    @property
    def cer(self) -> float:
        """Character error rate."""
        return sum(self.characters, ErrorCounts()).rate


def report(folders: Sequence[Path]) -> list[str]:
    """Lines that say how models did that differ in their seed alone, and how they did together.

    Each way of decoding has a line for each model and, where there are several, one for their mean:
    its interval is over utterances, each drawn with the errors of all models; the deviation is
    over models. A gain over another way of decoding is given where `results.json` has one.

    Args:
        folders: what `write_texts` and `write_results` wrote for each, on the same manifest.

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
class System:
    """A model, or several that differ in their seed alone, for a table.

    Args:
        name: as the table has it.
        folders: of results.
        n_parameters: of one model.
        minutes: of training one.
        alignment: where its training takes from what is said when.
    """

    name: str
    folders: Sequence[Path]
    n_parameters: int
    minutes: float
    alignment: str

    @property
    def ways(self) -> list[str]:
        """Names of the ways of decoding, but for what nothing could decode: an oracle."""
        names = [system["name"] for system in _systems(self.folders[0])]
        return [name for name in names if not name.endswith("oracle")]


def markdown(systems: Sequence[System], ways: Sequence[str], of_phones: bool) -> list[str]:
    """The lines of a table that sets systems side by side, on the same manifest.

    Rates are means over a system's models, intervals over utterances, deviations over models. The
    p is that of a paired test against the last system with the same way of decoding.

    Args:
        systems: in the table's order.
        ways: names of ways of decoding, likewise; a system may lack some.
        of_phones: whether the texts' words are phones, whose characters mean nothing.
    """
    rates = ["PER % (95 %)"] if of_phones else ["CER %", "WER % (95 %)"]
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
    system: System,
    models: Sequence[dict[str, Scored]],
    way: str,
    others: Sequence[dict[str, Scored]],
) -> list[str]:
    of_way = [model[way] for model in models]
    rates = [one.wer for one in of_way]
    low, high = bootstrap_interval(pooled(one.words for one in of_way))
    wer = f"{100 * mean(rates):.2f} ({100 * low:.2f} to {100 * high:.2f})"
    wer += f", deviation {100 * stdev(rates):.2f}" if len(rates) > 1 else ""
    p = ""
    if others is not models and all(way in other for other in others):
        # as many of one as of the other, so that an utterance's words are as many
        mine = pooled([one.words for one in of_way] * len(others))
        theirs = pooled([other[way].words for other in others] * len(models))
        p = f"{paired_gain(mine, theirs).p:.4f}"
    return [
        system.name,
        way,
        f"{100 * mean(one.cer for one in of_way):.2f}",
        wer,
        p,
        f"{system.n_parameters:,}",
        f"{system.minutes:.1f}",
        f"{mean(one.real_time_factor for one in of_way):.3f}",
        system.alignment,
    ]


def scored(folder: Path) -> dict[str, Scored]:
    """The systems of a folder by their names, counted from the texts beside `results.json`."""
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
    """Of `results.json`, each with a name and a real-time factor.

    Raises:
        InputError: the file can't be read, or has something else.
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
    """How a system did with one model, or with several as their mean."""
    systems = [model[name] for model in models]
    rates = [system.wer for system in systems], [system.cer for system in systems]
    deviations = [f", standard deviation {stdev(r):.2%}" if len(r) > 1 else "" for r in rates]
    words = pooled(system.words for system in systems)
    low, high = bootstrap_interval(words)
    line = (
        f"{name}: WER {mean(rates[0]):.2%} (95 %: {low:.2%} to {high:.2%}){deviations[0]};"
        f" CER {mean(rates[1]):.2%}{deviations[1]}"
    )
    over = systems[0].over
    if over is not None and all(over in model for model in models):
        found = paired_gain(words, pooled(model[over].words for model in models))
        line += f"; gain over {over} {found.gain:.2%}"
        line += f" (95 %: {found.low:.2%} to {found.high:.2%}; p {found.p:.4f})"
    return line
