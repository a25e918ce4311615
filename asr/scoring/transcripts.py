"""Files of transcripts -> which hypothesis belongs to which reference."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from asr.errors import InputError
from asr.files import json_object


@dataclass(frozen=True)
class Pairs:
    """References with their hypotheses, in the reference file's order.

    Args:
        references: what was said.
        hypotheses: what was recognised, one for each reference.
        ids: of the utterances; None where the files were paired line by line.
    """

    references: list[str]
    hypotheses: list[str]
    ids: list[str] | None


def read_pairs(
    reference: str | Path, hypothesis: str | Path, with_ids: bool | None = None
) -> Pairs:
    """The pairs of two files of transcripts, by their ids if both have some, else line by line.

    A file is one of these, and the two need not be of the same form:

    - `.jsonl`: JSON lines with a "text" and, to be paired by, an "id" or "audio": manifests and
      what `asr transcribe --format json` prints;
    - `.trn`: "text (id)" lines, as NIST sclite reads them, but without alternatives;
    - any other name: lines of text, or "id text" lines (Kaldi). They are "id text" if every line
      begins with what looks like an id, in both files: a word with a digit somewhere after a
      letter (utt1, an251-fash-b), with a low line (0_1_1), or of numbers with two hyphens
      (84-121123-0000); a file's name before a tab, as `asr transcribe` prints; or an id that
      the other file, a `.jsonl` or `.trn`, has. Where an "id" comes again inside the texts,
      words look like that here, and the lines are text.

    A hypothesis whose id is the path of an audio file belongs to the reference of that audio or,
    failing that, of its stem. Blank lines are utterances without words in lines of text, and
    nothing in the other forms.

    Args:
        reference: file of what was said; UTF-8.
        hypothesis: file of what was recognised; UTF-8.
        with_ids: whether text files are "id text" lines; None looks.

    Raises:
        InputError: a file can't be read or is empty; they have different numbers of lines; an id
            comes twice or is in one file only; `with_ids` is None and can't be guessed.
    """
    said, heard = _read(Path(reference)), _read(Path(hypothesis))
    if with_ids is None:
        by_id = _have_ids(said, heard)
    else:
        by_id = with_ids or (said.carries_ids and heard.carries_ids)
    return _paired_by_id(said, heard) if by_id else _paired_by_line(said, heard)


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
    Path(path).write_text("".join(lines), encoding="utf-8")


@dataclass(frozen=True)
class _Line:
    place: str
    whole: str  # the text if it has no id
    id: str = ""
    text: str = ""  # the text if it has one
    audio: str = ""  # resolved path, where a manifest has it
    marked: bool = False  # the form itself says that there is an id


@dataclass(frozen=True)
class _File:
    path: Path
    lines: list[_Line]

    @property
    def carries_ids(self) -> bool:
        return all(line.marked and line.id for line in self.lines)


_ID = re.compile(r"[^\W\d_].*\d|_|^\d+(-\d+){2,}")


def _have_ids(said: _File, heard: _File) -> bool:
    known = {line.id for file in (said, heard) if file.carries_ids for line in file.lines}
    guessed: list[_Line] = []
    for file in (said, heard):
        lines = [line for line in file.lines if line.id]
        if not lines or not all(line.marked or _may_be_id(line, known) for line in lines):
            return False
        guessed += [line for line in lines if not line.marked and line.id not in known]
    if not guessed:
        return True
    words = [word for line in guessed for word in line.text.split()]
    if not words or not {line.id for line in guessed}.isdisjoint(words):
        return False
    if sum(bool(_ID.search(word)) for word in words) > len(words) / 2:
        line = guessed[0]
        raise InputError(f"{line.place}: {line.id!r} may be id or word; expected --ids or --no-ids")
    return True


def _may_be_id(line: _Line, known: set[str]) -> bool:
    named_file = line.whole.startswith(f"{line.id}\t") and Path(line.id).suffix != ""
    return line.id in known or named_file or bool(_ID.search(line.id))


def _paired_by_line(said: _File, heard: _File) -> Pairs:
    if len(said.lines) != len(heard.lines):
        raise InputError(
            f"{heard.path} has {len(heard.lines)} lines; {said.path} has {len(said.lines)}"
        )
    return Pairs([line.whole for line in said.lines], [line.whole for line in heard.lines], None)


def _paired_by_id(said: _File, heard: _File) -> Pairs:
    references = _by_id(said, {})
    aliases = {line.audio: line.id for line in said.lines if line.audio}
    aliases |= {id: id for id in references}
    hypotheses = _by_id(heard, aliases)
    _check_all_in(references, said, hypotheses, heard)
    _check_all_in(hypotheses, heard, references, said)
    ids = list(references)
    return Pairs([references[id] for id in ids], [hypotheses[id] for id in ids], ids)


def _by_id(file: _File, aliases: Mapping[str, str]) -> dict[str, str]:
    """Text by id, where an id of the file may be a path that another file knows under its id."""
    texts: dict[str, str] = {}
    first: dict[str, str] = {}
    for line in file.lines:
        if not (line.id or line.marked):
            continue  # an empty line among "id text" lines
        if not line.id:
            raise InputError(
                f"{line.place}: has neither id nor audio; expected one, as others have"
            )
        id = _known_id(line.id, aliases)
        if id in texts:
            raise InputError(
                f"{line.place}: id {id!r} was at {first[id]} already; expected each id once"
            )
        texts[id], first[id] = line.text, line.place
    return texts


def _known_id(id: str, aliases: Mapping[str, str]) -> str:
    if id in aliases or not aliases:  # nearly always, and resolving a path asks the file system
        return aliases.get(id, id)
    path = Path(id)
    return next((aliases[n] for n in (str(path.resolve()), path.stem) if n in aliases), id)


def _check_all_in(
    texts: Mapping[str, str], file: _File, other_texts: Mapping[str, str], other: _File
) -> None:
    missing = [id for id in texts if id not in other_texts]
    if missing:
        more = f" (nor are {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise InputError(
            f"{file.path}: id {missing[0]!r} is not in {other.path}{more}; expected the same ids"
        )


def _read(path: Path) -> _File:
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: is not UTF-8 text; expected UTF-8") from None
    # not splitlines(), for which a form feed and U+2028 end lines too
    rows = content.removesuffix("\n").split("\n") if content else []
    parse = {".jsonl": _json_line, ".trn": _trn_line}.get(path.suffix.lower(), _text_line)
    lines = [
        parse(row.removesuffix("\r"), f"{path}:{number}", path.parent)
        for number, row in enumerate(rows, 1)
        if row.strip() or parse is _text_line
    ]
    if not lines:
        raise InputError(f"{path}: is empty; expected at least one line")
    unnamed = [line for line in lines if line.marked and not line.id]
    if unnamed and len(unnamed) < len(lines):
        raise InputError(f"{unnamed[0].place}: has neither id nor audio; expected one, as others")
    return _File(path, lines)


def _text_line(row: str, place: str, folder: Path) -> _Line:
    path, tab, text = row.partition("\t")
    if tab and Path(path).suffix:  # as `asr transcribe` prints; the path may have blanks
        return _Line(place, whole=row, id=path, text=text)
    id, *text_after = row.split(maxsplit=1) or [""]
    return _Line(place, whole=row, id=id, text="".join(text_after))


def _trn_line(row: str, place: str, folder: Path) -> _Line:
    found = re.fullmatch(r"(.*)\(([^()\s]+)\)\s*", row)
    if not found:
        raise InputError(f"{place}: has no id at its end; expected: text (id)")
    text, id = found.groups()
    if re.search(r"[(){}]", text):
        raise InputError(f"{place}: has sclite's alternatives or options; expected plain words")
    text = text.strip()
    return _Line(place, whole=text, id=id, text=text, marked=True)


def _json_line(row: str, place: str, folder: Path) -> _Line:
    values = json_object(row, place)
    if "text" not in values:
        raise InputError(f"{place}: has no 'text'; expected text, and id or audio")
    for name in ("text", "id", "audio"):
        if not isinstance(values.get(name, ""), str):
            raise InputError(f"{place}: {name} is {values[name]!r}; expected text")
    text, audio = values["text"], values.get("audio", "")
    return _Line(
        place,
        whole=text,
        id=values.get("id") or audio,
        text=text,
        audio=str((folder / audio).resolve()) if audio else "",
        marked=True,
    )
