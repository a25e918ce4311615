import json
import re
from dataclasses import replace

import pytest

from asr.corpus.manifest import Utterance, check_audio, read_manifest, write_manifest
from asr.errors import InputError

FIRST = {"id": "a1", "audio": "wav/a1.wav", "duration": 1.5, "text": "one two"}


def lines_of(path, *lines):
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    return path


# --- there and back ---------------------------------------------------------------------------


def test_a_written_manifest_is_read_unchanged(tmp_path):
    path = tmp_path / "new" / "train.jsonl"
    written = [
        Utterance("a1", str(tmp_path / "new" / "wav" / "a1.wav"), 1.5, "one two"),
        Utterance("b1", "/elsewhere/b1.flac", 0.25, "", speaker="bob"),
        Utterance("c1", str(tmp_path / "c1.wav"), 2.0, "größer “ja” \\", offset=0.0),
        Utterance(
            "d1",
            str(tmp_path / "new" / "d 1.wav"),
            3.0,
            "one",
            words=(("one", 0.1, 0.9),),
            phones=(("w", 0.1, 0.3), ("ah", 0.3, 0.3)),
        ),
    ]
    write_manifest(path, written)
    assert read_manifest(path) == written
    assert [file.name for file in path.parent.iterdir()] == ["train.jsonl"]


def test_audio_inside_the_folder_moves_with_it(tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    outside = str(tmp_path / "outside.wav")
    utterance = Utterance("a1", str(before / "wav" / "a1.wav"), 1.5, "one")
    write_manifest(before / "a.jsonl", [utterance, Utterance("b1", outside, 1.0, "two")])
    before.rename(after)
    inner, outer = read_manifest(after / "a.jsonl")
    assert inner == replace(utterance, audio=str(after / "wav" / "a1.wav"))
    assert outer.audio == outside


def test_a_line_needs_only_four_values(tmp_path):
    path = lines_of(tmp_path / "a.jsonl", {**FIRST, "duration": 2})
    (utterance,) = read_manifest(path)
    assert utterance == Utterance("a1", str(tmp_path / "wav/a1.wav"), 2.0, "one two")
    assert type(utterance.duration) is float


def test_windows_line_ends_and_a_missing_last_one_are_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes((json.dumps(FIRST) + "\r\n" + json.dumps({**FIRST, "id": "a2"})).encode())
    assert [utterance.id for utterance in read_manifest(path)] == ["a1", "a2"]


def test_a_failed_write_leaves_the_old_manifest(tmp_path):
    path = lines_of(tmp_path / "a.jsonl", FIRST)

    def broken():
        yield Utterance("b1", "b1.wav", 1.0, "two")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_manifest(path, broken())
    assert [utterance.id for utterance in read_manifest(path)] == ["a1"]


def test_a_byte_order_mark_and_blank_lines_are_ignored(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = ["\ufeff" + json.dumps(FIRST), "", " \t", json.dumps({**FIRST, "id": "a2"}), "", ""]
    path.write_text("\n".join(lines), "utf-8")
    assert [utterance.id for utterance in read_manifest(path)] == ["a1", "a2"]
    lines_of(path, FIRST, "", FIRST)
    with pytest.raises(InputError, match=r"a.jsonl:3: id 'a1' was on line 1 already"):
        read_manifest(path)


def test_texts_and_labels_get_their_canonical_form(tmp_path):
    text = "\ufeffThre\u0301e\tone\u00a0\ntwo\u2028don’t  go\u200b"
    line = {**FIRST, "text": text, "words": [["Thre\u0301e", 0.1, 0.2]]}
    (utterance,) = read_manifest(lines_of(tmp_path / "a.jsonl", line))
    assert utterance.text == "Thrée one two don't go"
    assert utterance.words == (("Thrée", 0.1, 0.2),)


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'id'}", "not JSON: Expecting property name enclosed in double quotes at column 2"),
        ("{", "not JSON: Expecting property name enclosed in double quotes at column 2"),
        ([1], "is list; expected a JSON object"),
        ({"id": "a2", "audio": "a", "text": ""}, "has no 'duration'; expected id, audio,"),
        ({**FIRST, "txt": ""}, "unknown 'txt'; expected audio, duration, id, offset,"),
        ({**FIRST, "text": None}, "text is None; expected text"),
        ({**FIRST, "speaker": 7}, "speaker is 7; expected text"),
        ({**FIRST, "id": ""}, "id is ''; expected text without white space"),
        ({**FIRST, "id": "a 2"}, "id is 'a 2'; expected text without white space"),
        ({**FIRST, "audio": ""}, "audio is empty; expected a path"),
        ({**FIRST, "duration": "1"}, "duration is '1'; expected seconds"),
        ({**FIRST, "duration": True}, "duration is True; expected seconds"),
        ({**FIRST, "duration": 0}, "duration is 0; expected more than 0 seconds"),
        ({**FIRST, "duration": -1}, "duration is -1; expected more than 0 seconds"),
        ({**FIRST, "offset": "1"}, "offset is '1'; expected seconds"),
        ({**FIRST, "offset": -0.5}, "offset is -0.5; expected seconds from 0 on"),
        ({**FIRST, "text": "don\x92t"}, "has U+0092, a control character; expected a text"),
        ({**FIRST, "id": "a\x1b[1m"}, "id: has U+001B, a control character; expected a text"),
        ('{"id": "a2", "text": "\\ud83d"}', "has \\ud83d, half of a surrogate pair; expected"),
        ({**FIRST, "duration": float("nan")}, "has NaN; expected a finite number"),
        ({**FIRST, "duration": 10**400}, "has a whole number of 401 digits"),
        ({**FIRST, "words": [["a", False, 1]]}, "words has ['a', False, 1]; expected [label"),
        ({**FIRST, "words": [["a", -1, 1]]}, "words has ['a', -1, 1]; expected [label"),
        ({**FIRST, "words": None}, "words is None; expected [label, start, end], ..."),
        ({**FIRST, "words": [["a", 1.0]]}, "words has ['a', 1.0]; expected [label, start, end]"),
        ({**FIRST, "phones": [["a", 2, 1]]}, "phones has ['a', 2, 1]; expected [label, start"),
        (FIRST, "id 'a1' was on line 1 already; expected each id once"),
    ],
)
def test_invalid_lines_are_refused_with_their_number(tmp_path, line, message):
    path = lines_of(tmp_path / "a.jsonl", FIRST, line, FIRST)
    with pytest.raises(InputError, match=f"^{re.escape(f'{path}:2: {message}')}"):
        read_manifest(path)


def test_an_empty_manifest_is_refused(tmp_path):
    path = lines_of(tmp_path / "a.jsonl")
    with pytest.raises(InputError, match=re.escape(f"{path}: is empty; expected at least one")):
        read_manifest(path)


def test_a_manifest_that_is_not_utf_8_is_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"RIFF\xff\xfe")
    with pytest.raises(InputError, match=r"a.jsonl:1: has the byte 0xff; expected UTF-8"):
        read_manifest(path)


def test_utterances_without_audio_are_all_named(tmp_path):
    (tmp_path / "a.wav").touch()
    utterances = [
        Utterance(name, str(tmp_path / f"{name}.wav"), 1.0, "yes") for name in ("a", "b", "c")
    ]
    check_audio("train.jsonl", utterances[:1])
    with pytest.raises(InputError) as caught:
        check_audio("train.jsonl", utterances)
    assert str(caught.value) == (
        f"train.jsonl: 2 of 3 utterances have no audio file: b ({tmp_path}/b.wav),"
        f" c ({tmp_path}/c.wav)"
    )
