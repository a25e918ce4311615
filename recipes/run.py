"""The whole way for one corpus: prepare, train, evaluate, report.

python recipes/run.py CORPUS [--data-root DIR] [--out DIR] [--seeds N] [--greedy] [key=value]

Settings are those of conf/CORPUS/ctc.yaml; the model's folder, exp/CORPUS/ctc, is called after it.
--config FILE takes others: those whose names begin with ctc, hmm or hybrid are of that kind.
key=value changes a setting of it: `model.n_layers=4 trainer.max_epochs=20`.
Where there is a conf/CORPUS/decode.yaml, the language models that it names are trained as well,
unless --greedy asks for best path alone.
A stage whose command and input files have not changed since it succeeded is skipped.
"""

import argparse
import os
from pathlib import Path

from pipeline import Corpus, run

from asr.errors import reported
from asr.evaluation.report import report

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    options = parse()
    out = options.out or Path(os.path.relpath(ROOT / "exp" / options.corpus))
    corpus = Corpus(ROOT, options.corpus, out, options.data_root)
    conf = options.config or corpus.conf / "ctc.yaml"
    decode = None if options.greedy else corpus.decode
    results = run(corpus, conf, options.seeds, options.settings, decode)
    print("\n".join(report(results)))
    print(f"model: {results[-1].parent}")


def parse() -> argparse.Namespace:
    corpora = sorted(path.parent.name for path in ROOT.glob("conf/*/ctc.yaml"))  # others are text
    parser = argparse.ArgumentParser(prog="run", usage=__doc__.splitlines()[2], allow_abbrev=False)
    parser.add_argument("corpus", choices=corpora, metavar="CORPUS", help=", ".join(corpora))
    parser.add_argument("--config", type=Path, help="default conf/CORPUS/ctc.yaml")
    parser.add_argument("--data-root", type=Path, help="where corpora lie; default $ASR_DATA")
    parser.add_argument("--out", type=Path, help="default exp/CORPUS")
    parser.add_argument("--seeds", type=int, default=1, help="trainings, from seed 1 on")
    parser.add_argument("--greedy", action="store_true", help="best path, no language model")
    keys = {"metavar": "key=value", "default": [], "help": "see the file of settings"}
    parser.add_argument("settings", nargs="*", **keys)
    options = parser.parse_intermixed_args()  # settings may stand behind options
    if wrong := [setting for setting in options.settings if "=" not in setting]:
        parser.error(f"{wrong[0]}: is no setting; expected key=value")
    if options.seeds < 1:
        parser.error(f"--seeds is {options.seeds}; expected 1 or more")
    return options


if __name__ == "__main__":
    with reported("run"):
        main()
