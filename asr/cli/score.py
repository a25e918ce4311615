"""`asr score`: references and hypotheses -> error rates."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli.output import print_json, print_lines, print_page
from asr.cli.usage import refuse
from asr.errors import InputError, reported, say
from asr.files import path_of, write_text

if TYPE_CHECKING:
    from asr.scoring.systems import System, Values


class ScoreFormat(StrEnum):
    """Output format."""

    text = "text"
    json = "json"
    html = "html"


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
    hypotheses: Annotated[
        list[Path],
        typer.Argument(
            metavar="HYPOTHESIS",
            parser=path_of,
            help="Recognised texts, a file for each system; - for standard input.",
            show_default=False,
        ),
    ],
    format: Annotated[
        ScoreFormat,
        typer.Option(
            help="A table, one JSON object with rates as fractions, or a page for a browser."
        ),
    ] = ScoreFormat.text,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="Also group utterances by a field of the references, such as speaker, in a"
            " manifest, a table or an STM.",
            show_default=False,
        ),
    ] = None,
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
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=path_of,
            help="Write the page to this new file, instead of stdout.",
            show_default=False,
        ),
    ] = None,
    audio: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            parser=path_of,
            help="The page plays the recordings in this folder, named after the ids or the"
            " manifest's paths.",
            show_default="the audio files that the references name",
        ),
    ] = None,
) -> None:
    """Word and character error rates of recognised texts, with a 95 % interval.

    Several systems are compared with the first by a paired test over utterances.

    All files may be plain lines of text, "id text" lines (Kaldi), the output of `asr transcribe`,
    JSON, CSV or TSV with columns text and id or audio, sclite's trn, STM and CTM, or subtitles
    (srt, vtt). They may be compressed with gzip. Texts are paired by id if both files have ids,
    otherwise line by line.
    """
    if alignments and format is not ScoreFormat.text:
        refuse("asr score", f"--format is {format.value}; expected text with --alignments")
    for name, given in (("--out", out), ("--audio", audio)):
        if given is not None and format is not ScoreFormat.html:
            refuse("asr score", f"--format is {format.value}; expected html with {name}")
    with reported("asr score"):
        from asr.scoring.hints import hints
        from asr.scoring.notation import Rules
        from asr.scoring.systems import aligned_system, has_field, score_values, system_names
        from asr.scoring.transcripts import read_systems
        from asr.text import normalisation

        if out and out.exists():
            raise InputError(f"{out}: already exists; expected a new file")
        rules = Rules(
            ignore_case, optional, fragments, normalisation.normalise if normalise else None
        )
        deleted = missing is Missing.deletions
        pairs = read_systems(reference, hypotheses, ids, deleted, rules)
        systems = list(map(aligned_system, system_names(hypotheses), pairs))
        if format is ScoreFormat.html and by is None and has_field(pairs[0], "speaker"):
            by = "speaker"
        values = score_values(systems, by, reference)
        notes = [
            f"{system.name}: {note}" if len(systems) > 1 else note
            for system in systems
            for note in [*system.pairs.notes, *hints(system.alignments)]
        ]
        for note in notes:
            say("asr score", note)
        if format is ScoreFormat.json:
            print_json(values)
        elif format is ScoreFormat.text:
            print_lines(_lines(systems, values, alignments))
        else:
            page = _page(reference, systems, values, notes, audio, out)
            if out:
                write_text(out, page, exclusive=True)
            else:
                print_page(page)


def _lines(systems: Sequence["System"], values: "Values", with_alignments: bool) -> list[str]:
    from asr.cli.score_results import (
        alignment_lines,
        comparison_lines,
        group_lines,
        system_lines,
    )

    lines = alignment_lines(systems) if with_alignments else []
    if len(systems) == 1:
        lines += system_lines(values, systems[0].alignments)
    else:
        lines += comparison_lines(values["systems"])
    return [*lines, "", *group_lines(values)] if "by" in values else lines


def _page(
    reference: Path,
    systems: Sequence["System"],
    values: "Values",
    notes: Sequence[str],
    audio: Path | None,
    out: Path | None,
) -> str:
    from asr.scoring.recordings import find_recordings, playing_notes
    from asr.scoring.score_page import score_page
    from asr.scoring.systems import system_names

    pairs = [system.pairs for system in systems]
    recordings = find_recordings([said for said, _ in pairs[0].entries], audio)
    unplayed = playing_notes(pairs, recordings)
    for note in unplayed:
        say("asr score", note)
    (name,) = system_names([reference])
    return score_page(f"Word errors: {name}", systems, values, recordings, [*notes, *unplayed], out)
