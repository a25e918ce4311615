import errno
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import asr
from asr.errors import MAX_LINE, InputError, counted, has_one_line, listed, one_line, printable
from asr.search.nbest import checked_frames


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[31mred\x9b", r"\x1b[31mred\x9b"),
        ("a\u2028b\u202ec", r"a\u2028b\u202ec"),
        ("é 語 👍🏽 \\", "é 語 👍🏽 \\"),
    ],
)
def test_only_control_characters_are_escaped(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown


def test_warnings_are_one_line_without_the_code():
    code = "import warnings; from asr.errors import reported\nwith reported('prog'):"
    code += " warnings.warn('a.wav: its\\n channels cancel')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "prog: warning: a.wav: its channels cancel\n"


def test_an_error_is_one_printable_line_of_bounded_length():
    assert one_line(InputError("a.wav: is\n  no  audio\x1b[2J")) == r"a.wav: is\n  no  audio\x1b[2J"
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a\nb")
    assert one_line(error) == r"a\nb: no space left on device"
    assert one_line(OSError(errno.EIO, "Input/output error")) == "input/output error"
    long = one_line(InputError("x" * 11_000_000))
    assert len(long) < MAX_LINE
    assert long.endswith("(of 11,000,000 characters)")


def test_a_lack_of_memory_is_reported_in_one_line():
    with pytest.raises(MemoryError) as numpy_error:
        np.zeros(1 << 60, np.uint8)
    with pytest.raises(RuntimeError) as torch_error:
        torch.zeros(1 << 60, dtype=torch.uint8)
    for error in (numpy_error.value, torch_error.value, MemoryError()):
        assert has_one_line(error)
        assert one_line(error).startswith("not enough memory")
    assert not has_one_line(RuntimeError("shapes differ"))
    assert not has_one_line(KeyError("x"))


def test_long_lists_and_long_names_are_shortened():
    assert listed(["a", "b"]) == "a, b"
    assert listed([str(n) for n in range(11)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ..."
    shown = listed(["x" * 1_000_000 + "end"] * 12)
    assert len(shown) < 2000
    assert shown.endswith("end, ...")


def run(code: str, **options) -> subprocess.CompletedProcess[str]:
    program = f"from asr.errors import InputError, reported\nwith reported('prog'):\n    {code}"
    command = [sys.executable, "-c", program]
    options.setdefault("env", {n: v for n, v in os.environ.items() if n != "PYTHONUNBUFFERED"})
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("code", ["print('x')", "print('x'); raise SystemExit(0)"])
def test_a_full_disk_behind_stdout_is_reported_in_one_line(code):
    with open("/dev/full", "w") as full:
        done = run(code, stdout=full)
    line = "prog: standard output: no space left on device\n"
    assert (done.returncode, done.stderr) == (1, line)
    with open("/dev/full", "w") as full:
        done = run("print('x'); raise InputError('a: is wrong')", stdout=full)
    assert (done.returncode, done.stderr) == (1, "prog: a: is wrong\n")


def test_a_character_that_stdout_lacks_is_reported_in_one_line():
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = run(r"print('\u8a9e')", stdout=subprocess.PIPE, env=environment)
    assert done.returncode == 1
    assert done.stderr.startswith("prog: standard output is ascii, which has no '\\u8a9e'; ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda x: x.to("meta"), "a meta tensor, which has no values"),
        (lambda x: x.to_sparse(), "a sparse tensor"),
        (lambda x: x.to_sparse_csr(), "a sparse tensor"),
        (lambda x: x.to_mkldnn(), "a tensor of layout _mkldnn"),
        (lambda x: torch.nested.nested_tensor([x, x]), "a nested tensor"),
        (lambda x: torch.nested.nested_tensor([x, x], layout=torch.jagged), "a nested tensor"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # torch says that such tensors are new
def test_tensors_that_are_not_dense_are_refused_by_name(change, found):
    wrong = change(torch.zeros(5, 3).log_softmax(1))
    message = f"^log_probs is {found}; expected a dense tensor or an array$"
    for compute in (
        lambda: asr.beam_search(wrong, ["-", "a", "b"]),
        lambda: asr.greedy_search(wrong, ["-", "a", "b"]),
        lambda: asr.ctc_align(wrong, [1, 2]),
        lambda: asr.ctc_loss(wrong, torch.tensor([1, 2])),
        lambda: checked_frames("log_probs", wrong, 3),
    ):
        with pytest.raises(ValueError, match=message):
            compute()


def test_waveforms_and_features_that_are_not_dense_are_refused_by_name():
    with pytest.raises(ValueError, match=r"^waveform is a sparse tensor; expected a dense tensor"):
        asr.log_mel(torch.zeros(16000).to_sparse(), 16000)
    features = [torch.zeros(5, 3), torch.zeros(5, 3, device="meta")]
    with pytest.raises(ValueError, match=r"^features\[1\] is a meta tensor, which has no values;"):
        asr.fit_hmm(features, ["a", "a"], {"a": "A"})


def test_one_thing_is_named_in_the_singular():
    named = [counted(number, "channel") for number in (0, 1, 2)]
    assert named == ["0 channels", "1 channel", "2 channels"]
