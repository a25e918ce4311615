"""`asr score`: what was said and what was recognised -> error rates."""

import math
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli.output import print_json, print_lines
from asr.errors import printable, reported

if TYPE_CHECKING:
    from asr.scoring.error_rates import Alignment
    from asr.scoring.transcripts import Pairs


class ScoreFormat(StrEnum):
    """How `asr score` prints."""

    text = "text"
    json = "json"


class Missing(StrEnum):
    """What becomes of a reference without hypothesis."""

    refuse = "refuse"
    deletions = "deletions"


def score(
    reference: Annotated[
        Path, typer.Argument(metavar="REFERENCE", help="What was said.", show_default=False)
    ],
    hypothesis: Annotated[
        Path, typer.Argument(metavar="HYPOTHESIS", help="What was recognised.", show_default=False)
    ],
    format: Annotated[
        ScoreFormat, typer.Option(help="Lines for people, or one JSON object (rates as fractions).")
    ] = ScoreFormat.text,
    normalise: Annotated[
        bool,
        typer.Option(
            "--normalise",
            help="Lower the case and remove punctuation in both before comparing;"
            " by default words are compared as they stand.",
        ),
    ] = False,
    ids: Annotated[
        bool | None,
        typer.Option(
            "--ids/--no-ids",
            help='Whether text files are "id text" lines (Kaldi); by default, if both files begin'
            " their lines with the same words, each once, that look like ids.",
            show_default=False,
        ),
    ] = None,
    missing: Annotated[
        Missing, typer.Option(help="References without hypothesis: refuse, or count as deletions.")
    ] = Missing.refuse,
    ignore_case: Annotated[
        bool | None,
        typer.Option(
            "--ignore-case/--match-case",
            help="Compare without regard to case; by default in trn, STM and CTM, as sclite does.",
            show_default=False,
        ),
    ] = None,
    optional: Annotated[
        bool | None,
        typer.Option(
            "--optional/--no-optional",
            help="Whether `(word)` in trn, STM and CTM may be left out (sclite's -D);"
            " by default in trn.",
            show_default=False,
        ),
    ] = None,
    fragments: Annotated[
        bool,
        typer.Option(
            "--fragments",
            help="`wo-` matches words that begin so, `-rd` that end so (sclite's -F).",
        ),
    ] = False,
    alignments: Annotated[
        bool, typer.Option("--alignments", help="Show each utterance with errors, word by word.")
    ] = False,
) -> None:
    """Word and character error rates of recognised text, with a 95 % interval.

    Both files may be lines of text, "id text" lines (Kaldi), what `asr transcribe` printed, JSON,
    CSV or TSV with text and id or audio, sclite's trn, STM and CTM, or subtitles (srt, vtt), each
    packed by gzip or not. They are paired by ids if both have some, else line by line.
    """
    if alignments and format is not ScoreFormat.text:
        raise typer.BadParameter("needs --format text", param_hint="--alignments")
    with reported("asr score"):
        from asr.scoring.error_rates import align_words
        from asr.scoring.hints import hints
        from asr.scoring.notation import Rules
        from asr.scoring.transcripts import read_pairs

        rules = Rules(ignore_case, optional, fragments, _normalise() if normalise else None)
        deleted = missing is Missing.deletions
        pairs = read_pairs(reference, hypothesis, ids, deleted, rules)
        aligned = align_words(pairs.references, pairs.hypotheses)
        values = _score_values(pairs, aligned)
        for note in [*pairs.notes, *hints(aligned)]:
            typer.echo(f"asr score: {printable(note)}", err=True)
        if format is ScoreFormat.json:
            print_json(values)
            return
        shown = _alignment_lines(pairs, aligned) if alignments else []
        print_lines([*shown, *_score_text(values, aligned).split("\n")])


def _normalise() -> Callable[[str], str]:
    from asr.text.normalisation import normalise

    return normalise


Values = dict[str, float | int | str | None]


def _score_values(pairs: "Pairs", alignments: list["Alignment"]) -> Values:
    from asr.scoring.bootstrap import bootstrap_interval
    from asr.scoring.error_rates import ErrorCounts, character_errors, count_errors

    counts = [count_errors(alignment) for alignment in alignments]
    total = sum(counts, ErrorCounts())
    characters = sum(character_errors(pairs.references, pairs.hypotheses), ErrorCounts())
    low, high = bootstrap_interval(counts)
    wrong = sum(count.errors > 0 for count in counts)
    return {
        "wer": _finite(total.rate),
        "wer_low": _finite(low),
        "wer_high": _finite(high),
        "cer": _finite(characters.rate),
        "substitutions": total.substitutions,
        "deletions": total.deletions,
        "insertions": total.insertions,
        "words": total.words,
        "characters": characters.words,
        "utterances": len(counts),
        "utterances_with_errors": wrong,
        "sentence_error_rate": wrong / len(counts),
        "paired_by": "line" if pairs.ids is None else "id",
    }


def _finite(rate: float) -> float | None:
    """JSON has no infinity: a rate of errors over no words at all is null."""
    return rate if math.isfinite(rate) else None


def _alignment_lines(pairs: "Pairs", alignments: list["Alignment"]) -> list[str]:
    from asr.scoring.error_rates import alignment_text, count_errors

    names = pairs.ids or [f"line {number}" for number in range(1, len(alignments) + 1)]
    return [
        line
        for name, alignment in zip(names, alignments, strict=True)
        if count_errors(alignment).errors
        for line in (printable(name), *alignment_text(alignment).split("\n"), "")
    ]


def _score_text(values: Values, alignments: list["Alignment"]) -> str:
    from asr.scoring.error_rates import confusions

    interval = ""
    if values["utterances"] != 1:  # one alone says nothing of how others would score
        low, high = _percent(values["wer_low"]), _percent(values["wer_high"])
        interval = f"  (95 % interval {low} to {high})"
    lines = [
        f"WER  {_percent(values['wer'])} %{interval}",
        f"     {values['substitutions']} substitutions, {values['deletions']} deletions and"
        f" {values['insertions']} insertions in {values['words']} words",
        f"CER  {_percent(values['cer'])} %  of {values['characters']} characters,"
        " blanks between words included",
        f"SER  {_percent(values['sentence_error_rate'])} %  {values['utterances_with_errors']}"
        f" of {values['utterances']} utterances have errors (paired by {values['paired_by']})",
    ]
    if most := confusions(alignments)[:10]:
        lines += ["", "most frequent errors (reference -> hypothesis)"]
        lines += [f"{times:5}  {said or '*'} -> {heard or '*'}" for said, heard, times in most]
    return "\n".join(lines)


def _percent(rate: float | int | str | None) -> str:
    return f"{100 * rate:.2f}" if isinstance(rate, int | float) else "infinite"
