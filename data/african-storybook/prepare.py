"""African Storybook -> data/african-storybook/{train,dev,test}.jsonl."""

import sys
from dataclasses import dataclass
from pathlib import Path

from asr.corpus.manifest import Utterance
from asr.corpus.official import (
    Source,
    check_lengths,
    command_line,
    find_recordings,
    obtain,
    read_facts,
    write_manifests,
)
from asr.corpus.spoken_text import ENGLISH, spoken_texts
from asr.errors import InputError, reported
from asr.files import json_object, read_lines

NAME = "African Storybook"
LICENCE = "CC BY"
STORIES = Source(NAME, ("african-storybook",), url="", size="", licence=LICENCE)
FACTS = Path(__file__).parent / "facts.tsv"
# a story of each has the second reader
DEV, TEST = {"0052", "0156", "0311"}, {"0085", "0210", "0337"}
COLUMNS = ("id", "audio", "text", "story", "author", "reader", "licence")


@dataclass(frozen=True)
class Page:
    """A page of a story.

    Args:
        text: as printed.
        reader: name of the speaker.
        licence: of the text and the recording.
    """

    text: str
    reader: str
    licence: str


def prepare(data_root: Path | None, out: Path, update_facts: bool = False) -> None:
    """Write the three manifests of `read_splits`."""
    write_manifests(out, read_splits(data_root, out / "download", update_facts))


def read_splits(
    data_root: Path | None, downloads: Path, update_facts: bool = False
) -> dict[str, list[Utterance]]:
    """The utterances of train, dev and test, checked.

    Only pages under CC BY are taken; each of the others is a line on stderr. Dev and test have
    three stories each, train all others.

    Raises:
        InputError: a recording is missing, damaged, surplus or of a wrong length; a page is missing
            or has another form.
    """
    home = obtain(STORIES, data_root, downloads)
    pages = read_pages(home / "text.jsonl")
    files = find_recordings(home, page_id)
    known = {} if update_facts else read_facts(FACTS)
    problems = [f"{home / 'text.jsonl'}: has no page {id}" for id in known if id not in pages]
    recordings = check_lengths(NAME, files, pages, FACTS, update_facts, problems)

    texts = {}
    for id, page in pages.items():
        if page.licence == LICENCE:
            texts[id] = page.text
        else:
            found = f"its licence is {page.licence!r}; expected {LICENCE}"
            print(f"{NAME}: {id} is left out: {found}", file=sys.stderr)
    splits: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
    for id, text in spoken_texts(texts, NAME, ENGLISH).items():
        speaker = "-".join(pages[id].reader.lower().split())
        utterance = recordings[id].utterance(id, text, speaker)
        story = id.split("-")[0]
        splits["dev" if story in DEV else "test" if story in TEST else "train"].append(utterance)
    return splits


def page_id(audio: Path) -> str:
    """`.../0052/10.opus` -> `0052-10`."""
    return f"{audio.parent.name}-{audio.stem}"


def read_pages(path: Path) -> dict[str, Page]:
    """Id -> page, from lines with the `COLUMNS`.

    Raises:
        InputError: a line has another form, an id is not that of its recording or occurs twice.
    """
    pages: dict[str, Page] = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        values = json_object(line, place)
        if wrong := [name for name in COLUMNS if not isinstance(values.get(name), str)]:
            raise InputError(f"{place}: {wrong[0]} is {values.get(wrong[0])!r}; expected text")
        id, audio = values["id"], values["audio"]
        if id != page_id(Path(audio)) or id in pages:
            raise InputError(
                f"{place}: is {id!r} with audio {audio!r}; expected STORY-PAGE and STORY/PAGE,"
                " each once"
            )
        pages[id] = Page(values["text"], values["reader"], values["licence"])
    return pages


if __name__ == "__main__":
    arguments = command_line(__doc__, Path(__file__).parent).parse_args()
    with reported("prepare african-storybook"):
        prepare(arguments.data_root, arguments.out, arguments.write_facts)
