import codecs

import pytest

from asr.errors import InputError
from asr.scoring.forms import read_transcripts

OBJECTS = '{"id": "u1", "text": "go left"}\n{"id": "u2", "text": "stop"}\n'


def read(tmp_path, content, name="a.txt"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_transcripts(path)


@pytest.mark.parametrize(
    ("name", "content", "form"),
    [
        ("a.txt", OBJECTS, "jsonl"),
        ("a.json", OBJECTS, "jsonl"),  # as NeMo calls it
        ("a.json", f"[{OBJECTS.strip().replace(chr(10), ', ')}]", "json"),
        ("a.txt", "id|text\nu1|go left\nu2|stop\n", "table"),
        ("a.csv", "id;text\nu1;go left\nu2;stop\n", "table"),
        ("a.txt", "id,text\nu1,go left\nu2,stop\n", "table"),
    ],
)
def test_name_or_content_shows_the_format(tmp_path, name, content, form):
    file = read(tmp_path, content, name)
    assert file.form == form
    assert [(entry.id, entry.text) for entry in file.readings[0].entries] == [
        ("u1", "go left"),
        ("u2", "stop"),
    ]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("u1,go left\nu2,stop\n", "':1: looks like columns separated by ','"),
        (";; made by x\nSPEAKER c 1 0.1 0.2 <NA> <NA> s <NA>\n", ":2: looks like RTTM"),
        ("0 46797 She had your dark suit\n", "such as HTK labels"),  # as in TIMIT
        ("0.0\t1.2\tgo left\n", "such as Audacity labels"),
        ("[00:01.00]go left\n", "such as LRC"),
        ("2360 5200 she\n5200 9680 had\n9680 11077 your\n", "such as HTK labels"),
        ("LJ001-1|Go|go\nLJ001-2|Stop|stop\n", "columns separated by '|'"),
        ("[00:01.20] go\n[00:02.40] stop\n", "looks like lines with times, such as LRC"),
        ("0.0\t1.2\tgo left\n1.2\t2.4\tstop\n", "Audacity"),
        ("0 12000000 go\n12000000 24000000 stop\n", "HTK"),
        ("0:01 go left\n0:12 stop\n", "looks like lines with times"),
        ("u1 S 0 T -77 A -7 L -7 0 go 9\nu2 S 0 T -7 A -7 L -7 0 go 9\n", "Sphinx's hypseg"),
        ("id,text,text\nu1,a,b\n", "has the column 'text' twice"),
        (b"\x28\xb5\x2f\xfd", "is compressed with zstd"),
        (b"%PDF-1.7\n", "is a PDF file"),
        ("u1 go\nu2 stop\n".encode("utf-16-le"), ":1: has a zero byte"),
        ("u1 é\n".encode("utf-16"), "is UTF-16; expected UTF-8"),
        (codecs.BOM_UTF32_LE + "é".encode("utf-32-le"), "is UTF-32; expected UTF-8"),
    ],
)
def test_unknown_formats_are_refused(tmp_path, content, found):
    with pytest.raises(InputError, match=found.removeprefix("'")):
        read(tmp_path, content)


@pytest.mark.parametrize(
    "content",
    ["yes, i do\nno,not now\n", "10,000 dollars\n20,000 euros\n", "10:30 sharp\nat noon\n"],
)
def test_texts_with_commas_and_numbers_are_lines_of_text(tmp_path, content):
    assert read(tmp_path, content).form == "lines"
