"""Results of `asr.scoring` -> lines of text."""

from collections.abc import Sequence

from asr.errors import printable
from asr.scoring.error_rates import Alignment, alignment_text, confusions, count_errors
from asr.scoring.systems import System, Values


def system_lines(values: Values, alignments: Sequence[Alignment]) -> list[str]:
    """The rates and counts of a single system, and its most frequent errors."""
    interval = f"  (95 % interval {_interval(values)})" if _interval(values) else ""
    lines = [
        f"WER  {_percent(values['wer'])} %{interval}",
        f"     {values['substitutions']} substitutions, {values['deletions']} deletions and"
        f" {values['insertions']} insertions in {values['words']} words",
        f"CER  {_percent(values['cer'])} %  of {values['characters']} characters,"
        " including spaces between words",
        f"     {_percent(values['cer_no_spaces'])} %  of"
        f" {values['characters_no_spaces']} characters without spaces",
        f"SER  {_percent(values['sentence_error_rate'])} %  {values['utterances_with_errors']}"
        f" of {values['utterances']} utterances have errors (paired by {values['paired_by']})",
    ]
    if most := confusions(alignments)[:10]:
        lines += ["", "most frequent errors (reference -> hypothesis)"]
        lines += [f"{times:5}  {said or '*'} -> {heard or '*'}" for said, heard, times in most]
    return lines


def comparison_lines(systems: Sequence[Values]) -> list[str]:
    """A table of several systems, a row each; all but the first are compared with the first."""
    titles = ["system", "WER %", "95 % interval", "S", "D", "I", "CER %", "SER %", "p"]
    rows = [
        [
            printable(values["name"]),
            _percent(values["wer"]),
            _interval(values),
            *(str(values[kind]) for kind in _KINDS),
            _percent(values["cer"]),
            _percent(values["sentence_error_rate"]),
            "" if values["p"] is None else f"{values['p']:.4f}",
        ]
        for values in systems
    ]
    first = systems[0]
    words = f", {first['words']} words" if len({each["words"] for each in systems}) == 1 else ""
    note = f"p: two-sided, paired, against {printable(first['name'])}"
    if any(values["p"] is None for values in systems[1:]):
        note += "; none if systems fit alternatives with other numbers of words"
    utterances = f"{first['utterances']} utterances{words} (paired by {first['paired_by']})"
    return [*_table([titles, *rows]), "", f"{utterances}; {note}"]


def group_lines(values: Values) -> list[str]:
    """A table of groups of utterances, for each system a row in each group."""
    systems = values.get("systems", [values])
    names = [[printable(system["name"])] if "systems" in values else [] for system in systems]
    titles = ["utterances", "words", "WER %", "95 % interval", "S", "D", "I"]
    rows = [[printable(values["by"]), *(["system"] if "systems" in values else []), *titles]]
    found = [{group["group"]: group for group in system["groups"]} for system in systems]
    for group in found[0]:
        for name, groups in zip(names, found, strict=True):
            each = groups[group]
            rows.append(
                [
                    printable(group) or "(empty)",
                    *name,
                    str(each["utterances"]),
                    str(each["words"]),
                    _percent(each["wer"]),
                    _interval(each),
                    *(str(each[kind]) for kind in _KINDS),
                ]
            )
    return _table(rows, 1 + len(names[0]))


def alignment_lines(systems: Sequence[System]) -> list[str]:
    """The alignment of each utterance with errors; several systems are named with each."""
    pairs = systems[0].pairs
    ids = pairs.ids or [f"line {number}" for number in range(1, len(pairs.references) + 1)]
    lines = []
    for number, id in enumerate(ids):
        for system in systems:
            alignment = system.alignments[number]
            if count_errors(alignment).errors:
                name = f"  {system.name}" if len(systems) > 1 else ""
                lines += [printable(id + name), *alignment_text(alignment).split("\n"), ""]
    return lines


_KINDS = ("substitutions", "deletions", "insertions")


def _interval(values: Values) -> str:
    """The interval of the WER; "" for a single utterance, which has none."""
    if values["utterances"] == 1:
        return ""
    return f"{_percent(values['wer_low'])} to {_percent(values['wer_high'])}"


def _percent(rate: float | None) -> str:
    return "infinite" if rate is None else f"{100 * rate:.2f}"


def _table(rows: Sequence[Sequence[str]], n_names: int = 1) -> list[str]:
    """Rows with aligned columns: the first ones, which are names, to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if number < n_names else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
