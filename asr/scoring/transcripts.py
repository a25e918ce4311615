"""Two files of transcripts -> pairs of a reference and a hypothesis."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from asr.errors import InputError
from asr.files import write_text
from asr.scoring.forms import read_transcripts
from asr.scoring.hints import without_case
from asr.scoring.notation import Rules, is_plain, resolve, word_graph
from asr.scoring.pairing import EntryPairs, pair_entries


@dataclass(frozen=True)
class Pairs:
    """References with their hypotheses, in the order of the reference file.

    Args:
        references: the correct texts.
        hypotheses: the recognised texts, one for each reference.
        ids: of the utterances; None if the files were paired line by line.
        notes: messages for the user on how the files were read.
        entries: what the files say of each utterance: of its reference and of its hypothesis.
    """

    references: list[str]
    hypotheses: list[str]
    ids: list[str] | None
    notes: list[str] = field(default_factory=list, compare=False)
    entries: EntryPairs = field(default_factory=list, compare=False)


def read_pairs(
    reference: str | Path,
    hypothesis: str | Path,
    with_ids: bool | None = None,
    missing_is_deleted: bool = False,
    rules: Rules | None = None,
) -> Pairs:
    """Pair two files of transcripts, by id if both have ids, otherwise line by line.

    The two files may have different formats. The file's suffix or its content shows the format:

    - JSON (.jsonl, .json), CSV and TSV with a "text" and an "id" or "audio": manifests, and the
      output of `asr transcribe --format json`;
    - sclite's "text (id)" lines (.trn), with comments, alternatives and optional words, and
      Sphinx's "text (id score)";
    - STM with CTM: a word belongs to the segment that contains its middle. CTM with CTM is cut
      into pieces; see `cut_at_common_pauses`. STM or CTM with another format is paired by segment,
      channel or recording;
    - subtitles (.srt, .vtt): one text per file, paired with another such file or with lines;
    - lines of text, "id text" lines (Kaldi) or "id TAB text" lines (`asr transcribe`); see
      `first_words_are_ids`.

    If the id of a hypothesis is the path of an audio file, it matches the reference with that
    audio or, if there is none, the reference whose id is the file's stem. Blank lines are
    utterances without words in lines of text, and are ignored in the other formats.

    Args:
        reference: file of correct texts, in UTF-8; may be compressed with gzip; `-` is standard
            input.
        hypothesis: file of recognised texts, likewise.
        with_ids: whether text files are "id text" lines; None: decide by their content.
        missing_is_deleted: give references without a hypothesis an empty one, instead of an error.
        rules: how words are read and compared.

    Raises:
        InputError: a file can't be read, or has no utterance to score; the numbers of lines differ;
            an id occurs twice or in one file only; `with_ids` is None and it is unclear whether
            lines have ids.
    """
    (pairs,) = read_systems(reference, [hypothesis], with_ids, missing_is_deleted, rules)
    return pairs


def read_systems(
    reference: str | Path,
    hypotheses: Sequence[str | Path],
    with_ids: bool | None = None,
    missing_is_deleted: bool = False,
    rules: Rules | None = None,
) -> list[Pairs]:
    """Pair one file of references with the hypotheses of several systems; see `read_pairs`.

    All systems have the same utterances in the same order, and are compared by the same rules: if
    one file of hypotheses makes the case of words irrelevant, it is so for all.

    Raises:
        InputError: as `read_pairs`; a file is given twice; or the utterances of two systems differ.
    """
    _check_given_once(hypotheses)
    as_lines = with_ids is not None
    rules = rules or Rules()
    said = read_transcripts(Path(reference), as_lines=as_lines)
    found: list[_Paired] = []
    for hypothesis in hypotheses:
        heard = read_transcripts(Path(hypothesis), True, as_lines, may_be_empty=missing_is_deleted)
        notes: list[str] = []
        paired = pair_entries(said, heard, with_ids, missing_is_deleted, notes)
        found.append(_Paired(heard.path, *paired, notes))
        if not found[-1].pairs:
            raise InputError(f"{reference}: has no utterance to score; expected at least one")
        _check_same_utterances(said.path, found[0], found[-1])
    ignore_case = rules.ignore_case
    if ignore_case is None:
        ignore_case = any(any(each.notation) for each in found)
    systems = []
    for each in found:
        references, recognised = _compared(each, rules, ignore_case, as_lines)
        ids = [said.id for said, _ in each.pairs] if each.by_id else None
        systems.append(Pairs(references, recognised, ids, each.notes, each.pairs))
    return systems


def write_trn(path: str | Path, texts: Mapping[str, str]) -> None:
    """Write texts in NIST sclite's trn format: "text (id)" lines.

    Args:
        path: the file to write. Its folder must exist.
        texts: by id.

    Raises:
        ValueError: an id or a text has characters with a special meaning in sclite.
        OSError: the file can't be written.
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


class _Paired(NamedTuple):
    """A file of hypotheses, paired with the references; see `pair_entries`.

    Args:
        path: of the hypotheses.
        pairs: a reference and a hypothesis for each utterance.
        notation: of the references and of the hypotheses.
        by_id: whether they were paired by id.
        notes: messages for the user.
    """

    path: Path
    pairs: EntryPairs
    notation: tuple[str, str]
    by_id: bool
    notes: list[str]


def _check_given_once(hypotheses: Sequence[str | Path]) -> None:
    names = list(map(str, hypotheses))
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{twice[0]}: is given twice; expected each hypothesis once")


def _check_same_utterances(reference: Path, first: _Paired, other: _Paired) -> None:
    """Raise InputError if two systems are not compared with the same references."""
    if first.by_id != other.by_id:
        ways = ["by id" if each.by_id else "line by line" for each in (other, first)]
        raise InputError(
            f"{other.path}: is paired {ways[0]}, but {first.path} {ways[1]}; expected the same for"
            " all hypotheses"
        )
    texts = [[(said.id, said.text) for said, _ in each.pairs] for each in (first, other)]
    if texts[0] != texts[1]:
        raise InputError(
            f"{other.path}: divides {reference} into other utterances than {first.path} does;"
            " expected hypotheses in the same format, and for CTM an STM as reference"
        )


def _compared(
    paired: _Paired, rules: Rules, ignore_case: bool, as_lines: bool
) -> tuple[list[str], list[str]]:
    """Reduce the pairs to the plain texts that are compared: references and hypotheses."""
    notation = paired.notation
    references, hypotheses = [], []
    has_capitals = False
    for said, heard in paired.pairs:
        texts = said.text, heard.text
        if ignore_case:
            texts = without_case(said.text), without_case(heard.text)
            has_capitals = has_capitals or texts != (said.text, heard.text)
        places = said.place, heard.place
        if not as_lines:
            _refuse_alternatives(texts, places, notation)
        reference, hypothesis = _plain(texts, places, notation, rules)
        references.append(reference)
        hypotheses.append(hypothesis)
    if has_capitals and rules.ignore_case is None and not rules.normalise:
        paired.notes.append("case is ignored, as in sclite; with --match-case it counts")
    return references, hypotheses


def _refuse_alternatives(
    texts: tuple[str, str], places: tuple[str, str], notation: tuple[str, str]
) -> None:
    for text, place, form in zip(texts, places, notation, strict=True):
        if not form and (found := _ALTERNATIVES.search(text)):
            raise InputError(
                f"{place}: has {found.group()}; expected alternatives only in trn (text (id)),"
                " STM and CTM; with --ids or --no-ids these are words"
            )


def _plain(
    texts: tuple[str, str], places: tuple[str, str], notation: tuple[str, str], rules: Rules
) -> tuple[str, str]:
    sides = list(zip(texts, places, notation, strict=True))
    if all(is_plain(text, form, rules) for text, _, form in sides):
        normalise = rules.normalise or str
        return normalise(texts[0]), normalise(texts[1])
    said, heard = (word_graph(text, place, form, rules) for text, place, form in sides)
    try:
        return resolve(said, heard, rules.fragments)
    except InputError as error:
        raise InputError(f"{places[0]}: {error}") from None
