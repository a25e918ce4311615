import math
from dataclasses import replace

import numpy as np
import pytest

from asr.evaluation.results import compared, system_result, table, with_calibration
from asr.scoring.bootstrap import Gain, bootstrap_interval, paired_gain
from asr.scoring.error_rates import character_errors, word_errors

REFERENCES = ["a b c", "d e", "f"]
HYPOTHESES = ["a x c y", "e", "f"]


def test_figures_are_those_counted_by_hand():
    result = system_result("beam", REFERENCES, HYPOTHESES, 8.0, 2.0, decoding={"beam_width": 4})
    counts = (result.substitutions, result.deletions, result.insertions, result.words)
    assert counts == (1, 1, 1, 6)
    assert result.wer == 0.5
    assert result.wer_low <= 0.5 <= result.wer_high
    assert result.cer == 5 / 9  # x for b, blank and y; d and its blank
    errors = character_errors(REFERENCES, HYPOTHESES)
    assert (result.cer_low, result.cer_high) == bootstrap_interval(errors)
    assert result.cer_low == 0.0  # of samples with the last text only
    assert result.cer_no_spaces == 3 / 6
    assert (result.utterances, result.wrong_utterances) == (3, 2)
    assert (result.audio_s, result.real_time_factor) == (8.0, 0.25)
    assert result.decoding == {"beam_width": 4}
    assert (result.over, result.gain, result.p) == (None, None, None)


def test_the_table_has_both_rates_with_their_intervals():
    result = replace(system("one"), wer=0.5, wer_low=0.25, wer_high=0.75)
    (line,) = table([replace(result, cer=0.125, cer_low=0.1, cer_high=0.2)])
    expected = "one  WER  50.00% (25.00% to 75.00%), CER 12.50% (10.00% to 20.00%); "
    assert line.startswith(expected)


def test_compared_adds_only_the_paired_gain():
    others = ["", "d e", "f g h"]
    result = system_result("beam", REFERENCES, HYPOTHESES, 8.0, 2.0)
    found = compared(result, REFERENCES, HYPOTHESES, "greedy", others)
    expected = paired_gain(word_errors(REFERENCES, HYPOTHESES), word_errors(REFERENCES, others))
    assert Gain(found.gain, found.gain_low, found.gain_high, found.p) == expected
    assert found.gain == pytest.approx(2 / 6, rel=1e-12)
    assert found.over == "greedy"
    assert found.wer == result.wer


def test_missing_references_or_audio_are_refused():
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


def system(name, **others):
    return replace(system_result(name, ["a b"], ["a"], audio_s=1.0, seconds=0.5), **others)


def test_a_negative_gain_is_reported_as_above():
    results = [
        replace(system("one"), over="zero", gain=0.125, gain_low=-0.05, gain_high=0.3, p=0.2),
        replace(system("two"), over="zero", gain=-0.125, gain_low=-0.3, gain_high=0.05, p=0.2),
    ]
    better, worse = table(results)
    assert better.endswith("; 12.50% (-5.00% to 30.00%) below zero, p 0.2000")
    assert worse.endswith("; 12.50% (-5.00% to 30.00%) above zero, p 0.2000")


def test_calibration_is_added_and_reported():
    right = np.array([True, True, False, True])
    found = with_calibration(system("one"), np.array([0.9, 0.8, 0.1, 1.0]), right)
    assert found.ece == pytest.approx((0.1 + 0.2 + 0.1) / 4)
    entropy = -3 * math.log(0.75) - math.log(0.25)
    assert found.nce == pytest.approx(1 + math.log(0.9 * 0.8 * 0.9) / entropy, abs=1e-6)
    (line,) = table([found])
    assert line.endswith(f"; confidences: ECE 0.1000, NCE {found.nce:.3f}")


def test_without_wrong_words_there_is_no_cross_entropy():
    found = with_calibration(system("one"), np.array([0.9, 0.7]), np.array([True, True]))
    assert (found.ece, found.nce) == (pytest.approx(0.2), None)
    assert table([found])[0].endswith("; confidences: ECE 0.2000")
    without = with_calibration(system("one"), np.empty(0), np.empty(0, dtype=bool))
    assert without == system("one")
    assert "confidences" not in table([without])[0]
