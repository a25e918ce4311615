"""Compare HMM, hybrid and CTC on the same corpus: a table and a picture.

python recipes/compare.py CORPUS [--data-root DIR] [--out DIR] [--seeds N] [--utterance ID]

conf/CORPUS/compare.yaml names the systems. It may name language models too, instead of
conf/CORPUS/decode.yaml. Models are trained and evaluated as in recipes/run.py; unchanged stages are
skipped.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from pipeline import Corpus, kind_of, minutes_of, prepare, run

from asr.config import read_yaml
from asr.corpus.manifest import Utterance, read_manifest
from asr.errors import InputError, reported
from asr.evaluation.report import TableRow, markdown
from asr.evaluation.views import draw_views
from asr.files import path_of, write_text
from asr.model import Model, load_model

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    options = parse()
    out = options.out or Path(os.path.relpath(ROOT / "exp" / options.corpus))
    corpus = Corpus(ROOT, options.corpus, out, options.data_root)
    compared = corpus.conf / "compare.yaml"
    values = read_yaml(compared)
    titles = titles_of(values, compared)
    confs = [corpus.conf / f"{name}.yaml" for name in titles]
    for conf in confs:
        if not conf.exists():
            raise InputError(f"{compared}: names {conf.stem}, but {conf} does not exist")
    shown = utterance_of(corpus, confs[0], options.utterance)
    systems, models = [], {}
    for conf, title in zip(confs, titles.values(), strict=True):
        decode = compared if "lm" in values else corpus.decode(conf)
        results = run(corpus, conf, options.seeds, decode=decode)
        model = models[kind_of(conf)] = load_model(results[0].parent)
        # other programs slow trainings down, so the shortest time is the best estimate
        minutes = min(minutes_of(corpus, conf, result.parent) for result in results)
        systems.append(TableRow(title, results, model.n_parameters, minutes, alignment_of(model)))
    # from the last system on: a network's first way is greedy search, which an HMM does not have
    ways = list(dict.fromkeys(way for system in reversed(systems) for way in system.ways))
    lines = markdown(systems, ways, bool(values.get("of_phones")))
    folder = corpus.out / "compare"
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "table.md").exists():
        print(f"compare: {folder}: has a table and a picture; they are replaced", file=sys.stderr)
    write_text(folder / "table.md", "\n".join(lines) + "\n")
    print("\n".join(lines))

    networks = [models[kind] for kind in ("hybrid", "ctc") if kind in models]
    draw_views(folder / "picture.png", shown, models["hmm"], networks)
    print(folder / "table.md", folder / "picture.png", sep="\n")


def titles_of(values: dict[str, Any], path: Path) -> dict[str, str]:
    """Name of the settings -> title of each system to compare.

    Args:
        values: of compare.yaml.
        path: of compare.yaml, for the error message.

    Raises:
        InputError: there are no titles, or not both an HMM and a network.
    """
    match values:
        case {"systems": dict(titles)} if all(isinstance(t, str) for t in titles.values()):
            kinds = {kind_of(Path(f"{name}.yaml")) for name in titles}
            if "hmm" in kinds and len(kinds) > 1:
                return titles
    raise InputError(
        f"{path}: systems is {values.get('systems')}; expected names of settings with titles, of an"
        " HMM and of a network"
    )


def utterance_of(corpus: Corpus, conf: Path, id: str | None) -> Utterance:
    """The utterance of the test set for the picture: that with an id, or the first.

    Raises:
        InputError: no utterance has this id.
    """
    prepare(corpus.data, corpus.data_root, [*corpus.lexicon(conf), *corpus.parts(conf)])
    test = corpus.parts(conf)[2]
    utterances = {utterance.id: utterance for utterance in read_manifest(test)}
    shown = id or next(iter(utterances))
    if shown not in utterances:
        raise InputError(f"--utterance is {shown}, which is not in {test}")
    return utterances[shown]


def alignment_of(model: Model) -> str:
    """The alignment that a model is trained on, as words for the table."""
    first = "the first HMM's, for trees, then " if "start" in model.trained_on else ""
    return first + model.kind.alignment.format_map(model.trained_on)


def parse() -> argparse.Namespace:
    corpora = sorted(path.parent.name for path in ROOT.glob("conf/*/compare.yaml"))
    parser = argparse.ArgumentParser(
        prog="compare", usage=__doc__.splitlines()[2], allow_abbrev=False
    )
    parser.add_argument("corpus", choices=corpora, metavar="CORPUS", help=", ".join(corpora))
    parser.add_argument(
        "--data-root", type=path_of, help="folder with the corpora; default $ASR_DATA"
    )
    parser.add_argument("--out", type=path_of, help="folder of the models; default exp/CORPUS")
    parser.add_argument(
        "--seeds", type=int, default=1, help="number of trainings of each network; default 1"
    )
    parser.add_argument(
        "--utterance", help="id of the test utterance in the picture; default: the first"
    )
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error(f"--seeds is {options.seeds}; expected 1 or more")
    return options


if __name__ == "__main__":
    with reported("compare"):
        main()
