import subprocess
import sys

import pytest

from asr.cli.app import main

TRANSCRIBE = ["transcribe", "a.wav", "--model", "m"]

# arguments, beginning of the line after the name of the program
WRONG = [
    ([*TRANSCRIBE, "--beam-width", "0"], "--beam-width is 0; expected a whole number, 1 or more"),
    ([*TRANSCRIBE, "--channel=-1"], "--channel is -1; expected a whole number, 0 or more"),
    ([*TRANSCRIBE, "--channel", "left one"], "--channel is 'left one'; expected a whole number, 0"),
    (
        [*TRANSCRIBE, "--format", "doc"],
        "--format is 'doc'; expected one or more of txt, json, srt, vtt, ctm, textgrid, each once",
    ),
    ([*TRANSCRIBE, "--format", "srt,json"], "--format is srt,json; expected one without --out DIR"),
    ([*TRANSCRIBE, "--device", "tpu"], "--device is tpu; expected auto, cpu, cuda"),
    ([*TRANSCRIBE, "--decoder", ""], "--decoder is ''; expected greedy, beam, flashlight"),
    ([*TRANSCRIBE, "--lm", ""], "--lm is ''; expected a path"),
    ([*TRANSCRIBE, "--out", ""], "--out is ''; expected a path"),
    ([*TRANSCRIBE, "--phrases", ""], "--phrases is ''; expected a path"),
    ([*TRANSCRIBE, ""], "AUDIO has ''; expected a path"),
    (["transcribe", "a.wav", "--model", ""], "--model is ''; expected a path"),
    (["transcribe", "--model", "m"], "AUDIO is missing; expected a path"),
    (["transcribe", "--model"], "option '--model' requires an argument; see asr transcribe --help"),
    (["transcribe", "--modl", "m"], "no such option: --modl; see asr transcribe --help"),
    (
        [*TRANSCRIBE, "--decoder", "greedy", "--beam-width", "4"],
        "--decoder is greedy, which uses the acoustic model alone; expected beam or flashlight with"
        " --beam-width",
    ),
    (["score", "a", ""], "HYPOTHESIS has ''; expected a path"),
    (["score", "a", "b", "--out", ""], "--out is ''; expected a path"),
    (["score", "a", "b", "--out", "c"], "--format is text; expected html with --out"),
    (["score", "a"], "HYPOTHESIS is missing; expected a path"),
    (["align", "a.wav", "--model", "m"], "TEXT is missing; expected a path"),
    (["align", "-", "-", "--model", "m"], "TEXT is standard input, as AUDIO is; expected a file"),
    (
        ["align", "a", "b", "--model", "m", "--phones"],
        "--format is ctm; expected textgrid or json with --phones",
    ),
    (
        ["align", "a", "b", "--model", "m", "--format", "doc"],
        "--format is doc; expected ctm, textgrid, json, srt, vtt",
    ),
    (["models", "a"], "got unexpected extra argument"),
    (["score", "a", "b", "--missing", "x"], "--missing is x; expected refuse, deletions"),
    (
        ["score", "a", "b", "--format", "json", "--alignments"],
        "--format is json; expected text with --alignments",
    ),
    (["info", ""], "MODEL is ''; expected a path"),
    (["manifest", "a", ""], "AUDIO has ''; expected a path"),
    (["manifest", "a", "--text", ""], "--text is ''; expected a path"),
    (["lm", "score", ""], "MODEL is ''; expected a path"),
    (["lm", "perplexity", "m", ""], "TEXT is ''; expected a path"),
    (["lm", "agree", "m", ""], "PAIRS is ''; expected a path"),
    (["lm", "inspect", "m", "--out", ""], "--out is ''; expected a path"),
    (["lm", "inspect", "m", "--best", "0"], "--best is 0; expected a whole number, 1 or more"),
    (["lm", "sample", "m", "--number", "x"], "--number is x; expected a whole number, 1 or more"),
    (["lm", "sample", "m", "--seed", "-1"], "--seed is -1; expected a whole number, 0 or more"),
    (["lm", "sample", "m", "--top-k", "1.5"], "--top-k is 1.5; expected a whole number"),
    (["lm", "sample", "m", "--top-k", "0"], "--top-k is 0; expected 1 or more"),
    (["lm", "sample", "m", "--top-p", "x"], "--top-p is x; expected a number"),
    (["lm", "sample", "m", "--temperature", "-1"], "--temperature is -1.0; expected 0 or more"),
    (["lm", "smaple"], "no such command 'smaple'"),
    (["transcrib"], "no such command 'transcrib'"),
    (["--foo"], "no such option: --foo; see asr --help"),
]


@pytest.mark.parametrize(("arguments", "line"), WRONG, ids=lambda value: str(value)[:40])
def test_wrong_usage_is_one_line_and_status_2(arguments, line, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    words = arguments[: 2 if arguments[0] == "lm" else 1]
    known = [word for word in words if word not in ("smaple", "transcrib", "--foo")]
    assert printed.err.startswith(f"{' '.join(['asr', *known])}: {line}")
    assert printed.err.count("\n") == 1


def test_the_programs_usage_errors_are_the_same_line():
    command = [sys.executable, "-m", "asr.cli", *TRANSCRIBE, "--beam-width", "0"]
    done = subprocess.run(command, capture_output=True, text=True)
    line = "asr transcribe: --beam-width is 0; expected a whole number, 1 or more\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)


def test_an_empty_prompt_is_no_wrong_usage(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["lm", "sample", "nope", ""])
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("asr lm sample: nope: does not exist")


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["--help"], 0), (["--version"], 0)])
def test_help_and_version_are_printed(arguments, code, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = capsys.readouterr()
    assert (ended.value.code or 0) == code
    assert "asr" in printed.out
    assert printed.err == ""
