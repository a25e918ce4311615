"""`asr score`: references and hypotheses -> error rates."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli.options import ReportFormat
from asr.cli.output import print_json, print_lines
from asr.cli.usage import refuse
from asr.errors import printable, reported, say
from asr.files import finite_or_none, path_of

if TYPE_CHECKING:
    from asr.scoring.error_rates import Alignment
    from asr.scoring.transcripts import Pairs


class Missing(StrEnum):
    """How references without a hypothesis are treated."""

    refuse = "refuse"
    deletions = "deletions"


def score(
    reference: Annotated[
        Path,
        typer.Argument(
            metavar="REFERENCE",
            parser=path_of,
            help="Reference texts; - for standard input.",
            show_default=False,
        ),
    ],
    hypothesis: Annotated[
        Path,
        typer.Argument(
            metavar="HYPOTHESIS",
            parser=path_of,
            help="Recognised texts; - for standard input.",
            show_default=False,
        ),
    ],
    format: Annotated[
        ReportFormat, typer.Option(help="A table, or one JSON object with rates as fractions.")
    ] = ReportFormat.text,
    normalise: Annotated[
        bool,
        typer.Option(
            "--normalise",
            help="Lowercase both texts and remove punctuation before comparing;"
            " by default texts are compared unchanged.",
        ),
    ] = False,
    ids: Annotated[
        bool | None,
        typer.Option(
            "--ids/--no-ids",
            help='Whether the first word of each line is an id, as in Kaldi\'s "id text" lines. By'
            " default, it is an id if both files have the same first words, each once, and these"
            " look like ids.",
            show_default=False,
        ),
    ] = None,
    missing: Annotated[
        Missing, typer.Option(help="For references without a hypothesis: fail, or count deletions.")
    ] = Missing.refuse,
    ignore_case: Annotated[
        bool | None,
        typer.Option(
            "--ignore-case/--match-case",
            help="Ignore case; by default only for trn, STM and CTM, as sclite does.",
            show_default=False,
        ),
    ] = None,
    optional: Annotated[
        bool | None,
        typer.Option(
            "--optional/--no-optional",
            help="Whether `(word)` in trn, STM and CTM is an optional word (sclite's -D);"
            " by default only in trn.",
            show_default=False,
        ),
    ] = None,
    fragments: Annotated[
        bool,
        typer.Option(
            "--fragments",
            help="`wo-` matches words that begin with `wo`, `-rd` words that end with `rd`"
            " (sclite's -F).",
        ),
    ] = False,
    alignments: Annotated[
        bool,
        typer.Option("--alignments", help="Print the alignment of each utterance with errors."),
    ] = False,
) -> None:
    """Word and character error rates of recognised texts, with a 95 % interval.

    Both files may be plain lines of text, "id text" lines (Kaldi), the output of `asr transcribe`,
    JSON, CSV or TSV with columns text and id or audio, sclite's trn, STM and CTM, or subtitles
    (srt, vtt). They may be compressed with gzip. Texts are paired by id if both files have ids,
    otherwise line by line.
    """
    if alignments and format is not ReportFormat.text:
        refuse("asr score", f"--format is {format.value}; expected text with --alignments")
    with reported("asr score"):
        from asr.scoring.error_rates import align_words
        from asr.scoring.hints import hints
        from asr.scoring.notation import Rules
        from asr.scoring.transcripts import read_pairs
        from asr.text import normalisation

        rules = Rules(
            ignore_case, optional, fragments, normalisation.normalise if normalise else None
        )
        deleted = missing is Missing.deletions
        pairs = read_pairs(reference, hypothesis, ids, deleted, rules)
        aligned = align_words(pairs.references, pairs.hypotheses)
        values = _score_values(pairs, aligned)
        for note in [*pairs.notes, *hints(aligned)]:
            say("asr score", note)
        if format is ReportFormat.json:
            print_json(values)
            return
        shown = _alignment_lines(pairs, aligned) if alignments else []
        print_lines([*shown, *_score_text(values, aligned).split("\n")])


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
        "wer": finite_or_none(total.rate),
        "wer_low": finite_or_none(low),
        "wer_high": finite_or_none(high),
        "cer": finite_or_none(characters.rate),
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
    if values["utterances"] != 1:  # a single utterance gives no interval
        low, high = _percent(values["wer_low"]), _percent(values["wer_high"])
        interval = f"  (95 % interval {low} to {high})"
    lines = [
        f"WER  {_percent(values['wer'])} %{interval}",
        f"     {values['substitutions']} substitutions, {values['deletions']} deletions and"
        f" {values['insertions']} insertions in {values['words']} words",
        f"CER  {_percent(values['cer'])} %  of {values['characters']} characters,"
        " including spaces between words",
        f"SER  {_percent(values['sentence_error_rate'])} %  {values['utterances_with_errors']}"
        f" of {values['utterances']} utterances have errors (paired by {values['paired_by']})",
    ]
    if most := confusions(alignments)[:10]:
        lines += ["", "most frequent errors (reference -> hypothesis)"]
        lines += [f"{times:5}  {said or '*'} -> {heard or '*'}" for said, heard, times in most]
    return "\n".join(lines)


def _percent(rate: float | int | str | None) -> str:
    return f"{100 * rate:.2f}" if isinstance(rate, int | float) else "infinite"
