"""Prepare a corpus, train a model, evaluate it and report the results.

python recipes/run.py CORPUS [--data-root DIR] [--out DIR] [--seeds N] [--greedy] [key=value]

The settings are those of conf/CORPUS/ctc.yaml, and the model's folder is exp/CORPUS/ctc.
--config FILE uses other settings; the name of the file begins with the kind of model: ctc,
classifier, hmm or hybrid. The model's folder has the file's name.
key=value changes a setting: `model.n_layers=4 trainer.max_epochs=20`.
If conf/CORPUS/decode.yaml exists, the language models that it names are trained too; for
ctc-NAME.yaml, decode-NAME.yaml goes first. --greedy turns this off and decodes with greedy search
alone.
A stage is skipped if its command and input files have not changed since it succeeded.
"""

import argparse
import os
from pathlib import Path

from pipeline import Corpus, run

from asr.errors import reported
from asr.evaluation.report import report
from asr.files import path_of

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    options = parse()
    out = options.out or Path(os.path.relpath(ROOT / "exp" / options.corpus))
    corpus = Corpus(ROOT, options.corpus, out, options.data_root)
    conf = options.config or corpus.conf / "ctc.yaml"
    decode = None if options.greedy else corpus.decode(conf)
    results = run(corpus, conf, options.seeds, options.settings, decode)
    print("\n".join(report(results)))
    print(f"model: {results[-1].parent}")


def parse() -> argparse.Namespace:
    corpora = sorted(path.parent.name for path in ROOT.glob("conf/*/ctc.yaml"))  # not texts
    parser = argparse.ArgumentParser(prog="run", usage=__doc__.splitlines()[2], allow_abbrev=False)
    parser.add_argument("corpus", choices=corpora, metavar="CORPUS", help=", ".join(corpora))
    parser.add_argument("--config", type=path_of, help="settings; default conf/CORPUS/ctc.yaml")
    parser.add_argument("--data-root", type=path_of, help="folder of corpora; default $ASR_DATA")
    parser.add_argument("--out", type=path_of, help="folder of the models; default exp/CORPUS")
    parser.add_argument("--seeds", type=int, default=1, help="number of trainings; default 1")
    parser.add_argument("--greedy", action="store_true", help="use no language model")
    keys = {"metavar": "key=value", "default": [], "help": "changes of the settings"}
    parser.add_argument("settings", nargs="*", **keys)
    options = parser.parse_intermixed_args()  # settings may follow options
    if wrong := [setting for setting in options.settings if "=" not in setting]:
        parser.error(f"{wrong[0]}: is no setting; expected key=value")
    if options.seeds < 1:
        parser.error(f"--seeds is {options.seeds}; expected 1 or more")
    return options


if __name__ == "__main__":
    with reported("run"):
        main()
