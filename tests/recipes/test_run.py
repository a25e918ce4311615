import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pipeline
import pytest
from conftest import ROOT, load_script, write_tones
from stages import run_stage

from asr.errors import InputError

PREPARE = """
import argparse, shutil
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--data-root", type=Path)
parser.add_argument("--out", type=Path)
options = parser.parse_args()
for part in ("train", "dev", "test"):
    text = (options.data_root / f"{part}.jsonl").read_text()
    text = text.replace('"audio": "', f'"audio": "{options.data_root}/')
    (options.out / f"{part}.jsonl").write_text(text)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A copy of the recipes with a corpus in `data/tones` and `conf/tones`."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(ROOT / "recipes", home / "recipes")
    write_tones(home / "official", {"train": 12, "dev": 4, "test": 4}, seed=3)
    for folder in ("data", "conf"):
        (home / folder / "tones").mkdir(parents=True)
    (home / "data" / "tones" / "prepare.py").write_text(PREPARE)
    (home / "data" / "letters").mkdir()  # a corpus of texts, without conf/letters/ctc.yaml
    (home / "data" / "letters" / "prepare.py").write_text(PREPARE)
    settings = (home / "official" / "ctc.yaml").read_text()
    names = "data:\n  train: data/tones/train.jsonl\n  dev: data/tones/dev.jsonl"
    (home / "conf" / "tones" / "ctc.yaml").write_text(settings.replace("data:", names))
    names += "\n  tokens: phone\n  lexicon: lexicon.dic"
    (home / "conf" / "tones" / "ctc-phone.yaml").write_text(settings.replace("data:", names))
    return home


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "recipes/run.py", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=home, capture_output=True, text=True, env=environment)


def test_a_corpus_is_prepared_trained_and_evaluated_once(home):
    command = ["tones", "--data-root", str(home / "official"), "trainer.max_epochs=2"]
    done = run(home, *command)
    assert done.returncode == 0, done.stderr
    results = json.loads((home / "exp/tones/ctc/test/results.json").read_text())["systems"][0]
    assert done.stdout.splitlines() == [
        f"exp/tones/ctc/test: greedy: WER {results['wer']:.2%} (95 %: {results['wer_low']:.2%} to"
        f" {results['wer_high']:.2%}); CER {results['cer']:.2%} (95 %: {results['cer_low']:.2%} to"
        f" {results['cer_high']:.2%})",
        "model: exp/tones/ctc",
    ]
    stages = [line for line in done.stderr.splitlines() if line.startswith("python ")]
    scripts = ["data/tones/prepare.py", "recipes/train_ctc.py", "recipes/evaluate.py"]
    assert [stage.split()[1] for stage in stages] == scripts

    again = run(home, *command)
    assert again.stdout == done.stdout
    assert again.stderr.splitlines() == [f"unchanged: {stage}" for stage in stages]

    before = (home / "exp/tones/ctc/weights.safetensors").read_bytes()
    other = run(home, *command, "model.hidden_size=4")
    assert other.returncode == 1
    assert other.stdout == ""
    assert other.stderr.splitlines()[-1] == (
        "train_ctc: exp/tones/ctc: holds a run with other settings (model.hidden_size is 8 there,"
        " 4 now); give another --out, or remove the folder"
    )
    assert (home / "exp/tones/ctc/weights.safetensors").read_bytes() == before


def test_the_models_folder_has_the_name_of_its_settings(home, monkeypatch, capsys):
    stages = []
    script = load_script("recipes/run.py")
    monkeypatch.chdir(home)
    monkeypatch.setattr(script, "ROOT", Path())
    monkeypatch.setattr(script, "report", lambda results: [])
    monkeypatch.setattr(pipeline, "run_stage", lambda *a, **outputs: stages.append(a))
    conf = home / "conf" / "tones" / "ctc-phone.yaml"
    monkeypatch.setattr(sys, "argv", ["run.py", "tones", "--config", str(conf), "--seeds", "2"])
    script.main()
    assert capsys.readouterr().out.splitlines()[-1] == "model: exp/tones/ctc-phone-seed2"
    _, train, evaluate, *_ = [[str(word) for word in command] for command, *_ in stages]
    assert train[1:7] == [
        "--config",
        str(conf),
        "--out",
        "exp/tones/ctc-phone-seed1",
        "--seed",
        "1",
    ]
    assert "--data.lexicon=data/tones/lexicon.dic" in train
    assert evaluate[1:3] == ["--model", "exp/tones/ctc-phone-seed1"]

    stages.clear()
    monkeypatch.setattr(sys, "argv", ["run.py", "tones"])
    script.main()
    train = [str(word) for word in stages[1][0]]
    assert train[1:5] == ["--config", "conf/tones/ctc.yaml", "--out", "exp/tones/ctc"]
    assert not any("lexicon" in word for word in train)


def test_language_models_of_decode_yaml_are_trained(home, monkeypatch, capsys):
    stages = []

    def stage(command, **files):
        stages.append([str(word) for word in command])
        if stages[-1][0] == "data/letters/prepare.py" and "refused" in os.environ:
            raise SystemExit(1)

    script = load_script("recipes/run.py")
    monkeypatch.chdir(home)
    monkeypatch.setattr(script, "ROOT", Path())
    monkeypatch.setattr(script, "report", lambda results: [])
    monkeypatch.setattr(pipeline, "run_stage", lambda command, *a, **k: stage(command))
    conf = home / "conf"
    (conf / "letters").mkdir()
    (conf / "letters" / "lm.yaml").write_text("data:\n  train: data/letters/train.txt\n")
    (conf / "tones" / "ngram.yaml").write_text("data:\n  train: data/tones/train.jsonl\n")
    (conf / "tones" / "decode.yaml").write_text(
        "beam_width: 9\nlm: [ngram]\nrescorer: [letters/lm]\n"
    )
    monkeypatch.setattr(sys, "argv", ["run.py", "tones"])
    script.main()
    assert [command[0] for command in stages] == [
        "data/tones/prepare.py",
        "recipes/train_ngram.py",
        "data/letters/prepare.py",
        "recipes/train_lm.py",
        "recipes/train_ctc.py",
        "recipes/evaluate.py",
    ]
    assert stages[1][1:5] == ["--config", "conf/tones/ngram.yaml", "--out", "exp/tones/ngram"]
    assert stages[3][1:5] == ["--config", "conf/letters/lm.yaml", "--out", "exp/letters/lm"]
    ways = "--decoder beam --beam-width 9 --lm exp/tones/ngram --rescorer exp/letters/lm"
    assert f"{ways} --tune data/tones/dev.jsonl" in " ".join(stages[-1])

    monkeypatch.setenv("refused", "yes")
    with pytest.raises(SystemExit):
        script.main()
    assert capsys.readouterr().err.splitlines()[-1] == (
        "conf/letters/lm.yaml takes these texts; --greedy does without"
    )
    stages.clear()
    monkeypatch.setattr(sys, "argv", ["run.py", "tones", "--greedy"])
    script.main()
    assert [command[0] for command in stages] == [
        "data/tones/prepare.py",
        "recipes/train_ctc.py",
        "recipes/evaluate.py",
    ]
    assert "--decoder" not in stages[-1]
    (conf / "tones" / "decode.yaml").unlink()


def test_tokens_may_have_their_own_language_models(tmp_path):
    corpus = pipeline.Corpus(tmp_path, "tones", tmp_path / "exp", None)
    corpus.conf.mkdir(parents=True)
    jamo, plain = corpus.conf / "decode-jamo.yaml", corpus.conf / "decode.yaml"
    assert corpus.decode(Path("ctc-jamo.yaml")) is None
    jamo.touch()
    assert corpus.decode(Path("ctc-jamo.yaml")) == jamo
    assert corpus.decode(Path("ctc.yaml")) is None
    plain.touch()
    assert corpus.decode(Path("ctc-jamo.yaml")) == jamo
    assert corpus.decode(Path("ctc.yaml")) == corpus.decode(Path("ctc-mfcc.yaml")) == plain


def test_results_depend_on_the_lexicon_and_the_language_models(home, monkeypatch):
    monkeypatch.chdir(home)
    monkeypatch.setattr(pipeline, "run_stage", lambda *a, **k: None)
    conf = home / "conf" / "tones"
    (conf / "ngram.yaml").write_text("data:\n  train: data/tones/train.jsonl\n")
    decode = conf / "decode-lexicon.yaml"
    decode.write_text("lexicon: data/tones/lexicon.dic\nlm: [ngram]\n")
    corpus = pipeline.Corpus(Path(), "tones", Path("exp/tones"), None)
    ways, files = pipeline.decoding_options(corpus, decode)
    assert ways[2:4] == ["--lexicon", Path("data/tones/lexicon.dic")]
    assert files == [Path("data/tones/lexicon.dic"), Path("exp/tones/ngram/model.json")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lm: ngram\n", "lm is 'ngram'; expected a list of names"),
        ("rescorer: [1]\n", r"rescorer is \[1\]; expected a list of names"),
        ("rescorers: [lm]\n", "unknown setting rescorers; expected one of lexicon, beam_width, lm"),
    ],
)
def test_an_invalid_decode_yaml_is_refused(tmp_path, text, message):
    (tmp_path / "decode.yaml").write_text(text)
    corpus = pipeline.Corpus(Path(), "tones", Path("exp/tones"), None)
    with pytest.raises(InputError, match=f"decode.yaml: {message}"):
        pipeline.decoding_options(corpus, tmp_path / "decode.yaml")


def test_settings_without_data_use_the_corpus_or_are_refused(tmp_path):
    corpus = pipeline.Corpus(Path(), "tones", Path("exp/tones"), None)
    conf = tmp_path / "ctc.yaml"
    conf.write_text("model:\n  n_layers: 1\n")
    assert corpus.parts(conf)[1:] == [Path("data/tones/dev.jsonl"), Path("data/tones/test.jsonl")]
    assert corpus.lexicon(conf) == []
    with pytest.raises(InputError, match=r"ctc.yaml: has no data.train; expected the texts"):
        pipeline.train_language_model(corpus, conf, Path("exp/tones/lm"))
    conf.write_text("data: 5\n")
    with pytest.raises(InputError, match=r"ctc.yaml: data is 5; expected settings by name"):
        corpus.parts(conf)


def test_the_hmm_of_a_hybrid_is_trained_first_without_seed(home, monkeypatch):
    stages = []
    monkeypatch.chdir(home)
    monkeypatch.setattr(pipeline, "run_stage", lambda command, *a, **k: stages.append(command))
    conf = home / "conf" / "tones"
    manifests = "data:\n  train: data/tones/train.jsonl\n"
    (conf / "hmm.yaml").write_text(manifests)
    (conf / "hybrid.yaml").write_text(manifests + "  hmm: exp/tones/hmm\n")
    corpus = pipeline.Corpus(Path(), "tones", Path("exp/tones"), None)
    results = pipeline.run(corpus, Path("conf/tones/hybrid.yaml"), seeds=2)
    assert results == [Path(f"exp/tones/hybrid-seed{seed}/test") for seed in (1, 2)]
    commands = [[str(word) for word in command] for command in stages]
    assert [command[0] for command in commands] == [
        "data/tones/prepare.py",
        "recipes/train_hmm.py",
        *["recipes/train_hybrid.py", "recipes/evaluate.py"] * 2,
    ]
    assert "--seed" not in commands[1]
    assert commands[1][3:5] == ["--out", "exp/tones/hmm"]
    assert commands[4][3:7] == ["--out", "exp/tones/hybrid-seed2", "--seed", "2"]
    assert "--data.hmm=exp/tones/hmm" in commands[4]

    stages.clear()
    pipeline.run(corpus, Path("conf/tones/hybrid.yaml"), 1, settings=["data.hmm=my/hmm"])
    assert [Path(command[0]).stem for command in stages] == ["prepare", "train_hybrid", "evaluate"]
    assert [word for word in stages[1] if "hmm" in str(word)] == ["--data.hmm=my/hmm"]


def test_the_hmm_of_a_setting_is_an_input_of_the_hybrid(home, monkeypatch):
    read = {}

    def stage(command, inputs, outputs):
        read[command[0].stem] = inputs

    monkeypatch.chdir(home)
    monkeypatch.setattr(pipeline, "run_stage", stage)
    manifests = "data:\n  train: data/tones/train.jsonl\n"
    (home / "conf/tones/hybrid.yaml").write_text(manifests + "  hmm: exp/tones/hmm\n")
    model = Path("my/hmm/model.json")
    model.parent.mkdir(parents=True)
    model.write_text("{}")
    corpus = pipeline.Corpus(Path(), "tones", Path("exp/tones"), None)
    pipeline.run(corpus, Path("conf/tones/hybrid.yaml"), 1, settings=["data.hmm=my/hmm"])
    assert model in read["train_hybrid"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere"], "invalid choice: 'nowhere'"),
        (["letters"], "invalid choice: 'letters'"),
        (["tones", "hidden"], "hidden: is no setting; expected key=value"),
        (["tones", "--seeds", "0"], "--seeds is 0; expected 1 or more"),
        ([], "the following arguments are required: CORPUS"),
    ],
)
def test_wrong_usage_has_status_2(home, arguments, line, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
    script = load_script("recipes/run.py")
    monkeypatch.setattr(script, "ROOT", home)
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 2
    assert line in capsys.readouterr().err


@pytest.fixture
def copying(tmp_path):
    """A script that copies a file, with its input and output."""
    script = tmp_path / "copy.py"
    script.write_text("import shutil, sys\nprint('said')\nshutil.copy(*sys.argv[1:3])\n")
    (tmp_path / "in").write_text("one")
    return script, tmp_path / "in", tmp_path / "out"


def test_a_stage_runs_again_after_a_change(copying, capfd):
    script, source, target = copying

    def ran(*more):
        run_stage([script, source, target, *more], inputs=[script, source], outputs=[target])
        out, err = capfd.readouterr()
        assert out == ""
        return not err.startswith("unchanged: ")

    assert ran()
    assert not ran()
    source.write_text("two")
    assert ran()
    assert target.read_text() == "two"
    assert ran("--option")
    assert not ran("--option")
    target.unlink()
    assert ran("--option")


def test_a_failed_stage_runs_again(copying, tmp_path):
    script, source, target = copying
    run_stage([script, source, target], inputs=[source], outputs=[target])
    source.write_text("two")
    script.write_text("import sys; sys.exit(3)")
    with pytest.raises(SystemExit) as ended:
        run_stage([script, source, target], inputs=[source], outputs=[target])
    assert ended.value.code == 3
    source.write_text("one")  # as in the first, successful run; but the stage has failed since
    with pytest.raises(SystemExit):
        run_stage([script, source, target], inputs=[source], outputs=[target])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        run_stage([script], inputs=[tmp_path / "nowhere"], outputs=[target])


def test_a_folder_of_an_earlier_or_killed_run_is_made_anew(tmp_path):
    script, source, folder = (tmp_path / name for name in ("make.py", "in", "made"))
    script.write_text(
        "import pathlib, sys\npathlib.Path(sys.argv[1]).mkdir()\nopen(sys.argv[2], 'w')"
    )
    source.write_text("one")
    folder.mkdir()
    for text in ("one", "two"):
        source.write_text(text)
        (folder / "rest").write_text("of an earlier run")
        made = folder / "out"
        run_stage([script, folder, made], [source], [made], new_folder=folder)
        assert sorted(path.name for path in folder.iterdir()) == [".out.done", "out"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stage_gets_the_signal_once_and_is_waited_for(tmp_path, number):
    script = tmp_path / "slow.py"
    script.write_text(
        "import signal, sys, time\n"
        "from pathlib import Path\n"
        "times = []\n"
        "for number in (signal.SIGINT, signal.SIGTERM):\n"
        "    signal.signal(number, lambda number, frame: times.append(number))\n"
        "Path(sys.argv[1]).write_text('ready')\n"
        "while not times:\n"
        "    time.sleep(0.01)\n"
        "time.sleep(0.5)\n"
        "Path(sys.argv[1]).write_text(f'saved after {len(times)}')\n"
        "sys.exit(128 + times[0])\n"
    )
    program = "from pathlib import Path; import sys; from stages import run_stage;"
    program += " out = Path(sys.argv[2]); run_stage([sys.argv[1], out], inputs=[], outputs=[out])"
    # in its own process group, which gets the signal as from a terminal
    process = subprocess.Popen(
        [sys.executable, "-c", program, script, tmp_path / "out"],
        env=os.environ | {"PYTHONPATH": str(ROOT / "recipes")},
        start_new_session=True,
    )
    end = time.monotonic() + 30
    while not (tmp_path / "out").exists() and time.monotonic() < end:
        time.sleep(0.02)
    os.killpg(process.pid, number)
    assert process.wait(timeout=30) == 128 + number
    assert (tmp_path / "out").read_text() == "saved after 1"
