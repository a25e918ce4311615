"""Two files of transcripts -> which hypothesis belongs to which reference."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from asr.errors import InputError
from asr.files import write_text
from asr.scoring.forms import read_transcripts
from asr.scoring.hints import without_case
from asr.scoring.notation import Rules, is_plain, resolve, word_graph
from asr.scoring.pairing import EntryPairs, paired


@dataclass(frozen=True)
class Pairs:
    """References with their hypotheses, in the reference file's order.

    Args:
        references: what was said.
        hypotheses: what was recognised, one for each reference.
        ids: of the utterances; None where the files were paired line by line.
        notes: what a user should know of how the files were read.
    """

    references: list[str]
    hypotheses: list[str]
    ids: list[str] | None
    notes: list[str] = field(default_factory=list, compare=False)


def read_pairs(
    reference: str | Path,
    hypothesis: str | Path,
    with_ids: bool | None = None,
    missing_is_deleted: bool = False,
    rules: Rules | None = None,
) -> Pairs:
    """The pairs of two files of transcripts, by their ids if both have some, else line by line.

    The two need not be of the same form. A form is known by the name's end or by sight:

    - JSON (.jsonl, .json), CSV and TSV with a "text" and, to be paired by, an "id" or "audio":
      manifests, and what `asr transcribe --format json` prints;
    - sclite's "text (id)" lines (.trn), with comments, alternatives and optional words; Sphinx's
      "text (id score)";
    - STM with CTM: each word belongs to the segment that its middle lies in. Either of them with
      another form is paired by segment, by channel or by recording;
    - subtitles (.srt, .vtt): one text of one recording, with another such text or with lines;
    - lines of text, "id text" lines (Kaldi) or "id TAB text" lines (`asr transcribe`); see
      `first_words_are_ids`.

    A hypothesis whose id is the path of an audio file belongs to the reference of that audio or,
    failing that, of its stem. Blank lines are utterances without words in lines of text, and
    nothing in the other forms.

    Args:
        reference: file of what was said; UTF-8, which may be packed by gzip.
        hypothesis: file of what was recognised; likewise.
        with_ids: whether text files are "id text" lines; None looks.
        missing_is_deleted: a reference without hypothesis is taken for deletions, not refused.
        rules: how words are read and compared.

    Raises:
        InputError: a file can't be read or is empty; they have different numbers of lines; an id
            comes twice or is in one file only; `with_ids` is None and can't be guessed.
    """
    as_lines = with_ids is not None
    said = read_transcripts(Path(reference), as_lines=as_lines)
    heard = read_transcripts(Path(hypothesis), True, as_lines, may_be_empty=missing_is_deleted)
    notes: list[str] = []
    pairs, notation, by_id = paired(said, heard, with_ids, missing_is_deleted, notes)
    return _compared(pairs, notation, by_id, rules or Rules(), notes)


def write_trn(path: str | Path, texts: Mapping[str, str]) -> None:
    """Write texts as NIST sclite reads them: "text (id)" lines.

    Args:
        path: of the file; its folder exists.
        texts: by id.

    Raises:
        ValueError: an id or a text has something that sclite would take for its own signs.
    """
    lines = []
    for id, text in texts.items():
        if not re.fullmatch(r"[^()\s]+", id):
            raise ValueError(f"id is {id!r}; expected no white space or parentheses")
        if re.search(r"[(){}@;]", text):
            raise ValueError(f"text of {id} is {text!r}; expected none of ( ) {{ }} @ ;")
        lines.append(" ".join([*text.split(), f"({id})"]) + "\n")
    write_text(path, "".join(lines))


_ALTERNATIVES = re.compile(r"(?<!\S)\{(?: [^{}]*)? /(?: [^{}]*)? \}(?!\S)")


def _compared(
    pairs: EntryPairs, notation: tuple[str, str], by_id: bool, rules: Rules, notes: list[str]
) -> Pairs:
    """The plain texts that are compared."""
    ignore_case = any(notation) if rules.ignore_case is None else rules.ignore_case
    references, hypotheses = [], []
    has_capitals = False
    for said, heard in pairs:
        texts = said.text, heard.text
        if ignore_case:
            texts = without_case(said.text), without_case(heard.text)
            has_capitals = has_capitals or texts != (said.text, heard.text)
        reference, hypothesis = _plain(texts, (said.place, heard.place), notation, rules)
        references.append(reference)
        hypotheses.append(hypothesis)
    if has_capitals and rules.ignore_case is None and not rules.normalise:
        notes.append(
            "words are compared without regard to case, as sclite does; --match-case compares them"
            " as they stand"
        )
    ids = [said.id for said, _ in pairs] if by_id else None
    return Pairs(references, hypotheses, ids, notes)


def _plain(
    texts: tuple[str, str], places: tuple[str, str], notation: tuple[str, str], rules: Rules
) -> tuple[str, str]:
    sides = list(zip(texts, places, notation, strict=True))
    for text, place, form in sides:
        if not form and (found := _ALTERNATIVES.search(text)):
            raise InputError(
                f"{place}: has {found.group()}; alternatives are expected in trn (text (id)), STM"
                " and CTM alone"
            )
    if all(is_plain(text, form, rules) for text, _, form in sides):
        normalise = rules.normalise or str
        return normalise(texts[0]), normalise(texts[1])
    said, heard = (word_graph(text, place, form, rules) for text, place, form in sides)
    try:
        return resolve(said, heard, rules.fragments)
    except InputError as error:
        raise InputError(f"{places[0]}: {error}") from None
