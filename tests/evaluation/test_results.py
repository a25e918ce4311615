import math
import subprocess
from pathlib import Path

import pytest

from asr.evaluation import results
from asr.evaluation.results import commit, compared, machine, peak_memory_mb, system_result
from asr.scoring.bootstrap import Gain, paired_gain
from asr.scoring.error_rates import word_errors

REFERENCES = ["a b c", "d e", "f"]
HYPOTHESES = ["a x c y", "e", "f"]


def test_figures_are_those_counted_by_hand():
    result = system_result("beam", REFERENCES, HYPOTHESES, 8.0, 2.0, decoding={"beam_width": 4})
    counts = (result.substitutions, result.deletions, result.insertions, result.words)
    assert counts == (1, 1, 1, 6)
    assert result.wer == 0.5
    assert result.wer_low <= 0.5 <= result.wer_high
    assert result.cer == 5 / 9  # x for b, blank and y; d and its blank
    assert (result.utterances, result.wrong_utterances) == (3, 2)
    assert (result.audio_s, result.real_time_factor) == (8.0, 0.25)
    assert result.decoding == {"beam_width": 4}
    assert (result.over, result.gain, result.p) == (None, None, None)


def test_a_comparison_is_the_paired_gain_and_changes_nothing_else():
    others = ["", "d e", "f g h"]
    result = system_result("beam", REFERENCES, HYPOTHESES, 8.0, 2.0)
    found = compared(result, REFERENCES, HYPOTHESES, "greedy", others)
    expected = paired_gain(word_errors(REFERENCES, HYPOTHESES), word_errors(REFERENCES, others))
    assert Gain(found.gain, found.gain_low, found.gain_high, found.p) == expected
    assert found.gain == pytest.approx(2 / 6, rel=1e-12)
    assert found.over == "greedy"
    assert found.wer == result.wer


def test_what_can_not_be_measured_is_refused():
    with pytest.raises(ValueError, match="counts is empty"):
        system_result("greedy", [], [], 1.0, 1.0)
    with pytest.raises(ValueError, match="2 hypotheses for 1 references"):
        system_result("greedy", ["a"], ["a", "b"], 1.0, 1.0)
    with pytest.raises(ValueError, match=r"audio_s is 0.0; expected some audio"):
        system_result("greedy", ["a"], ["a"], 0.0, 1.0)
    result = system_result("beam", REFERENCES, HYPOTHESES, 8.0, 2.0)
    with pytest.raises(ValueError, match="1 hypotheses for 3 references"):
        compared(result, REFERENCES, HYPOTHESES, "greedy", ["a"])


def test_errors_without_words_are_infinite():
    assert system_result("greedy", [""], ["a"], 1.0, 1.0).wer == math.inf


def test_the_commit_is_this_repositorys_or_none(monkeypatch, tmp_path):
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    if head.returncode == 0:
        found = commit().removesuffix("+")
        assert len(found) >= 12
        assert head.stdout.startswith(found)
    # installed below another repository: not that one's commit
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "results.py").touch()
    monkeypatch.setattr(results, "__file__", str(tmp_path / "results.py"))
    assert commit() == ""


def test_the_machine_names_its_processor_and_versions():
    assert " threads, " in machine("cpu")
    assert ", torch 2." in machine("cpu")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_peak_memory_is_the_kernels_high_water_mark():
    before = peak_memory_mb()
    (line,) = (n for n in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in n)
    # in kB; the kernel counts lazily, some pages late
    assert int(line.split()[1]) / 1024 == pytest.approx(before, rel=0.01)
