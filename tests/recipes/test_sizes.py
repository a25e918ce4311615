"""Too large settings are refused before memory is allocated for them."""

import pytest
from conftest import run_script

CTC = ("model.hidden_size", "model.n_layers", "model.conv_channels", "model.time_reduction")
FEATURES = ("features.n_mels", "features.n_mfcc", "features.n_deltas", "features.n_spliced")
AUGMENT = ("augment.n_time_masks", "augment.n_freq_masks")
HMM = ("model.n_states", "model.n_silence_states", "model.max_components")
LM = ("model.embedding_size", "model.hidden_size", "model.n_layers", "data.rows", "data.chunk")
TAGGER = ("model.embedding_size", "model.n_buckets", "model.hidden_size", "model.n_layers")
WINDOWS = ("data.max_size", "data.window", "data.rows")

OPTIONS = [
    *(("train_ctc", option) for option in (*CTC, *FEATURES, *AUGMENT)),
    *(("train_hmm", option) for option in (*HMM, *FEATURES)),
    *(("train_lm", option) for option in LM),
    *(("train_punctuation", option) for option in (*TAGGER, *WINDOWS)),
    ("train_ngram", "model.order"),
]


@pytest.mark.parametrize("size", [10**9, 10**18])
@pytest.mark.parametrize(("script", "option"), OPTIONS)
def test_too_large_sizes_are_refused_in_one_line(tmp_path, capsys, script, option, size):
    with pytest.raises(SystemExit, match="2"):
        run_script(f"recipes/{script}.py", f"--{option}={size}", "--out", tmp_path / "out")
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert f"{option.split('.')[1]} is {size}; expected at most" in line


@pytest.mark.parametrize("value", [".inf", ".nan", "1e300"])
@pytest.mark.parametrize("option", ["window_ms", "hop_ms"])
def test_impossible_windows_are_refused_in_one_line(tmp_path, capsys, option, value):
    with pytest.raises(SystemExit, match="2"):
        run_script("recipes/train_ctc.py", f"--features.{option}={value}", "--out", tmp_path)
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert f"features.{option} is " in line


@pytest.mark.parametrize("speeds", ["[1e-9]", "[1e9]", "[.inf]", "[.nan]"])
@pytest.mark.parametrize(("script", "name"), [("train_ctc", "augment"), ("train_hmm", "data")])
def test_impossible_speeds_are_refused_in_one_line(tmp_path, capsys, script, name, speeds):
    with pytest.raises(SystemExit, match="2"):
        run_script(f"recipes/{script}.py", f"--{name}.speeds={speeds}", "--out", tmp_path)
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "expected factors from 0.1 to 10" in line
