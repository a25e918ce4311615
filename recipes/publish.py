"""Train a corpus's model of phones, and make the folder that is passed on, with a model card.

python recipes/publish.py CORPUS --out exp/CORPUS/published [--data-root DIR]

Model and language models are those of `recipes/run.py CORPUS`, in exp/CORPUS. Weights are rounded
to 16 bits, and only words that the search's language model knows stay in the lexicon; the model
card has the error rates of this smaller model. conf/CORPUS/publish.yaml has

  tests: [librispeech, an4]  # the corpora on whose test sets it is measured
  limits: limits.md  # beside it: what the model does badly
  punctuation: novels/punctuation  # settings in conf of a model of punctuation; may be left out

A stage is skipped if its command and input files have not changed since it succeeded.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline import Command, Corpus, prepare, run, train_punctuation
from stages import run_script, run_stage

from asr.config import from_dict, read_yaml
from asr.errors import InputError, reported
from asr.files import path_of
from asr.folder import DESCRIPTION, WEIGHTS

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class PublishSettings:
    """What is published beside the model.

    Args:
        tests: corpora, on whose test sets the model is measured.
        limits: file, beside the settings, that says what the model does badly.
        punctuation: settings of a model of punctuation in `conf`, without suffix; "" for none.
    """

    tests: tuple[str, ...]
    limits: str
    punctuation: str = ""


def main() -> None:
    options = parse()
    if options.out.exists():
        raise InputError(f"{options.out}: already exists; expected a new folder")
    out = Path(os.path.relpath(ROOT / "exp" / options.corpus))
    corpus = Corpus(ROOT, options.corpus, out, options.data_root)
    path = corpus.conf / "publish.yaml"
    settings = from_dict(PublishSettings, read_yaml(path), str(path))
    conf = corpus.conf / "ctc.yaml"
    (results,) = run(corpus, conf, seeds=1, decode=corpus.decode(conf))

    model, rounded = results.parent, corpus.out / "rounded"
    package: Command = [ROOT / "recipes/package.py", "--corpora", corpus.data / "README.md"]
    package += ["--limits", corpus.conf / settings.limits]
    given: Command = ["--lm-words"]
    inputs = [model / DESCRIPTION, model / WEIGHTS, results / "results.json"]
    if settings.punctuation:
        punctuation = train_punctuation(corpus, settings.punctuation)
        given += ["--punctuation", punctuation]
        inputs += [punctuation / DESCRIPTION, punctuation / WEIGHTS]
    run_stage(
        [*package, "--model", model, "--out", rounded, *given],
        inputs,
        outputs=[rounded / DESCRIPTION],
        new_folder=rounded,
    )
    measured = list(measure(corpus, rounded, settings.tests))
    run_script([*package, "--model", rounded, "--out", options.out, "--results", *measured])
    print(f"model: {options.out}")


def measure(corpus: Corpus, model: Path, tests: Sequence[str]) -> Iterator[Path]:
    """Measure a model, as it decodes, on the test sets of corpora; yield each results.json."""
    for test in tests:
        folder = corpus.data.parent / test
        manifest, out = folder / "test.jsonl", corpus.out / "measured" / test
        prepare(folder, corpus.data_root, [manifest])
        evaluate: Command = [corpus.root / "recipes/evaluate.py", "--model", model]
        evaluate += ["--manifest", manifest, "--out", out]
        inputs = [model / DESCRIPTION, model / WEIGHTS, manifest]
        run_stage(evaluate, inputs, outputs=[out / "results.json"])
        yield out / "results.json"


def parse() -> argparse.Namespace:
    corpora = sorted(path.parent.name for path in ROOT.glob("conf/*/publish.yaml"))
    parser = argparse.ArgumentParser(
        prog="publish", usage=__doc__.splitlines()[2], allow_abbrev=False
    )
    parser.add_argument("corpus", choices=corpora, metavar="CORPUS", help=", ".join(corpora))
    parser.add_argument("--out", type=path_of, required=True, help="a folder, which must be new")
    parser.add_argument("--data-root", type=path_of, help="folder of corpora; default $ASR_DATA")
    return parser.parse_args()


if __name__ == "__main__":
    with reported("publish"):
        main()
