"""The whole way for one corpus: prepare, train, evaluate, report.

python recipes/run.py CORPUS [--config FILE] [--data-root DIR] [--out DIR] [--seeds N] [key=value]

FILE is conf/CORPUS/ctc.yaml by default; the model's folder, exp/CORPUS/ctc, is called after it.
key=value changes a setting of it: `model.n_layers=4 trainer.max_epochs=20`.
A stage whose command and input files have not changed since it succeeded is skipped.
"""

import argparse
import os
from pathlib import Path

from asr.config import read_yaml
from asr.errors import reported
from asr.evaluation import report
from asr.stages import run_stage

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    corpora = sorted(path.parent.name for path in ROOT.glob("conf/*/ctc.yaml"))  # others are text
    parser = argparse.ArgumentParser(prog="run", usage=__doc__.splitlines()[2])
    parser.add_argument("corpus", choices=corpora, metavar="CORPUS", help=", ".join(corpora))
    parser.add_argument("--config", type=Path, help="default conf/CORPUS/ctc.yaml")
    parser.add_argument("--data-root", type=Path, help="where corpora lie; default $ASR_DATA")
    parser.add_argument("--out", type=Path, help="default exp/CORPUS")
    parser.add_argument("--seeds", type=int, default=1, help="trainings, from seed 1 on")
    keys = {"metavar": "key=value", "default": [], "help": "see the file of settings"}
    parser.add_argument("settings", nargs="*", **keys)
    options = parser.parse_intermixed_args()  # settings may stand behind options
    if wrong := [setting for setting in options.settings if "=" not in setting]:
        parser.error(f"{wrong[0]}: is no setting; expected key=value")
    if options.seeds < 1:
        parser.error(f"--seeds is {options.seeds}; expected 1 or more")
    out = options.out or Path(os.path.relpath(ROOT / "exp" / options.corpus))
    data = ROOT / "data" / options.corpus
    conf = options.config or ROOT / "conf" / options.corpus / "ctc.yaml"
    settings = read_yaml(conf)["data"]
    name = Path(settings["train"]).name  # words, or phones
    train, dev, test = (data / name.replace("train", part) for part in ("train", "dev", "test"))
    lexicon = settings.get("lexicon", "cmudict")  # which is none of the corpus's files
    lexicon = [] if lexicon == "cmudict" else [data / Path(lexicon).name]

    prepare = [data / "prepare.py", "--out", data]
    if options.data_root:
        prepare += ["--data-root", options.data_root]
    inputs = [*data.glob("*.py"), *data.glob("*.tsv")]
    run_stage(prepare, inputs, outputs=[*lexicon, train, dev, test])
    results = []
    for seed in range(1, options.seeds + 1):
        model = out / (conf.stem if options.seeds == 1 else f"{conf.stem}-seed{seed}")
        command = [ROOT / "recipes/train_ctc.py", "--config", conf, "--out", model, "--seed", seed]
        command += ["--data.train", train, "--data.dev", dev]
        command += [f"--data.lexicon={path}" for path in lexicon]
        command += [f"--{setting}" for setting in options.settings]
        run_stage(command, inputs=[conf, *lexicon, train, dev], outputs=[model / "model.json"])
        evaluate = [ROOT / "recipes/evaluate.py", "--model", model, "--manifest", test]
        inputs = [model / "model.json", model / "weights.safetensors", test]
        run_stage(evaluate, inputs, outputs=[model / test.stem / "results.json"])
        results.append(model / test.stem)
    print("\n".join(report(results)))
    print(f"model: {model}")


if __name__ == "__main__":
    with reported("run"):
        main()
