import re

import pytest

from asr.errors import InputError
from asr.text.phrases import read_phrases


def test_a_file_of_phrases_with_and_without_bonuses(tmp_path):
    path = tmp_path / "phrases.txt"
    path.write_text("\ufeffnew\u00a0 york\n\nrubout\t3.5\n don’t\t -1\r\n", "utf-8")
    assert read_phrases(path) == [
        ("new york", 2.0, f"{path}:1: phrase 'new york'"),
        ("rubout", 3.5, f"{path}:3: phrase 'rubout'"),
        ("don't", -1.0, f'{path}:4: phrase "don\'t"'),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": has no phrase; expected one per line"),
        ("a\n\n\t2\n", ":3: has no phrase; expected each phrase once"),
        ("a b\na  b\t3\n", ":2: has 'a b' again; expected each phrase once"),
        ("a\tmuch\n", ":1: has 'much'; expected a bonus in nats after the tab"),
        ("a\tnan\n", ":1: has 'nan'; expected a bonus in nats after the tab, from -1e+06 to 1e+06"),
        ("a\t2\rb\t1e999", ":2: has '1e999'; expected a bonus in nats"),
        ("a\t\n", ":1: has ''; expected a bonus in nats after the tab"),
        ("\udcff", ":1: has the byte 0xff; expected UTF-8"),
        ("a\x7f\t2\n", ":1: has U+007F, a control character; expected a text"),
        ("thre\u0301e\nthrée\n", ":2: has 'thrée' again; expected each phrase once"),
    ],
)
def test_invalid_files_of_phrases_are_refused(tmp_path, text, message):
    path = tmp_path / "phrases.txt"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=re.escape(f"{path}{message}")):
        read_phrases(path)
    with pytest.raises(InputError, match="nowhere: can't be read: No such file"):
        read_phrases(tmp_path / "nowhere")
