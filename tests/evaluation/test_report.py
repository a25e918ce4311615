import re

import pytest

from asr.corpus.manifest import Utterance
from asr.evaluation.report import TableRow, markdown, report
from asr.evaluation.result_files import write_results, write_texts
from asr.evaluation.results import compared, system_result

UTTERANCES = [Utterance(f"u{n}", "a.wav", 1.0, "ab cd ab cd") for n in (1, 2)]
REFERENCES = [utterance.text for utterance in UTTERANCES]


def write_systems(folder, **recognised):
    """Write texts and results of systems by name, each compared with greedy search."""
    results = []
    for name, texts in recognised.items():
        write_texts(folder, UTTERANCES, texts, name)
        result = system_result(name, REFERENCES, texts, audio_s=2.0, seconds=1.0)
        if name != "greedy":
            result = compared(result, REFERENCES, texts, "greedy", recognised["greedy"])
        results.append(result)
    write_results(folder, folder, folder / "test.jsonl", results)


def test_models_of_several_seeds_are_reported_with_mean_and_deviation(tmp_path):
    texts = {"one": ("ab cd ab cd", "ab"), "two": ("ab", "ab"), "three": ("", "ab")}
    for name, recognised in texts.items():
        write_systems(tmp_path / name, greedy=recognised)
    lines = report([tmp_path / name for name in texts])
    assert [line.partition(" (")[0] for line in lines] == [
        f"{tmp_path}/one: greedy: WER 37.50%",
        f"{tmp_path}/two: greedy: WER 75.00%",
        f"{tmp_path}/three: greedy: WER 87.50%",
        "mean of 3: greedy: WER 66.67%",
    ]
    # over the three models, 7 and 9 of 12 words of the two utterances are wrong
    assert "(95 %: 58.33% to 75.00%), standard deviation 26.02%" in lines[3]
    # and 20 and 27 of 33 characters
    assert "; CER 71.21% (95 %: 60.61% to 81.82%), standard deviation " in lines[3]
    assert report([tmp_path / "one"]) == lines[:1]


def test_each_system_of_several_seeds_is_reported_with_its_gain(tmp_path):
    greedy, beam = ("ab", "ab cd"), ("ab cd ab", "ab cd")
    write_systems(tmp_path / "one", greedy=greedy, beam=beam, rescored=REFERENCES)
    write_systems(tmp_path / "two", greedy=greedy, beam=greedy)
    lines = report([tmp_path / "one", tmp_path / "two"])
    assert [line.rpartition(": WER")[0] for line in lines] == [
        f"{tmp_path}/one: greedy",
        f"{tmp_path}/two: greedy",
        "mean of 2: greedy",
        f"{tmp_path}/one: beam",
        f"{tmp_path}/two: beam",
        "mean of 2: beam",
        f"{tmp_path}/one: rescored",  # only one model has it, so there is no mean
    ]
    assert "gain" not in lines[2]
    # 2 of 8 words are corrected in one of two utterances; 2 of 16 over both models
    assert "; gain over greedy 25.00% (95 %: 0.00% to 50.00%; p 1.0000)" in lines[3]
    assert "; gain over greedy 12.50% (95 %: 0.00% to 25.00%; p 1.0000)" in lines[5]
    # better in both of two utterances: the sign test's p is 1/2, up to sampling noise
    assert re.search(r"gain over greedy 62.50% \(95 %: 50.00% to 75.00%; p 0.(49|50)", lines[6])


def test_the_table_compares_each_system_with_the_last(tmp_path):
    recognised = {"right": REFERENCES, "half": ("ab cd", "ab cd"), "none": ("", "")}
    for name, texts in recognised.items():
        write_systems(tmp_path / name, beam=texts, greedy=texts)
    systems = [
        TableRow("HMM", [tmp_path / "none"], 1200, 2.0, "many passes"),
        TableRow("CTC", [tmp_path / "half", tmp_path / "right"], 3_400_000, 7.25, "none"),
    ]
    lines = markdown(systems, ["beam"], of_phones=False)
    assert lines[:2] == [
        "| model | decoding | CER % (95 %) | WER % (95 %) | p | parameters | minutes"
        " | real-time factor | alignment |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    # the HMM makes 8 errors of 8 words, CTC 4 of 16 over its two models
    hmm, ctc = (line.split(" | ") for line in lines[2:])
    assert hmm[:3] == ["| HMM", "beam", "100.00 (100.00 to 100.00)"]
    assert hmm[3] == "100.00 (100.00 to 100.00)"
    assert float(hmm[4]) == pytest.approx(0.5, abs=0.02)  # better in both of two utterances
    assert hmm[5:] == ["1,200", "2.0", "0.500", "many passes |"]
    assert ctc[0] == "| CTC"
    assert ctc[3:] == [
        "25.00 (25.00 to 25.00), deviation 35.36",
        "",
        "3,400,000",
        "7.2",
        "0.500",
        "none |",
    ]


def test_a_way_of_decoding_without_results_has_no_line(tmp_path):
    write_systems(tmp_path / "hmm", beam=REFERENCES, greedy=REFERENCES)
    write_systems(tmp_path / "ctc", greedy=REFERENCES)
    systems = [TableRow(name, [tmp_path / name], 1, 1.0, "") for name in ("hmm", "ctc")]
    lines = markdown(systems, ["greedy", "beam"], of_phones=True)
    assert [line.split(" | ")[:2] for line in lines[2:]] == [
        ["| hmm", "greedy"],
        ["| hmm", "beam"],
        ["| ctc", "greedy"],
    ]
    assert lines[3].split(" | ")[3] == ""  # nothing to be compared with
