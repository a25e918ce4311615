"""Compare recurrent networks of equal size and equal training: cells, directions, depths.

python recipes/ablate.py CORPUS [--data-root DIR] [--out DIR] [--seeds N]

conf/CORPUS/ablate.yaml names the settings that all networks share, the number of parameters of
each, and the networks. Their width follows from that number. Each is trained with every seed and
evaluated by best path. Unchanged stages are skipped, so the same command goes on where it stopped.

Source: Graves, Mohamed and Hinton 2013, arXiv:1303.5778, table 1.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path

from pipeline import Corpus, data_options, minutes_of, prepare, run

from asr.config import from_dict, parse, read_yaml, settings_parser
from asr.errors import reported
from asr.evaluation.report import TableRow, markdown
from asr.files import path_of, write_text
from asr.training.ablation import Ablation, network_of_size
from asr.training.ctc import CTCData, CTCSettings
from asr.training.run import add_trainer_options

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    options = parse_options()
    conf = ROOT / "conf" / options.corpus / "ablate.yaml"
    ablation = from_dict(Ablation, read_yaml(conf), str(conf))
    out = options.out or Path(os.path.relpath(ROOT / "exp" / options.corpus / "ablate"))
    corpus = Corpus(ROOT, options.corpus, out, options.data_root)
    shared = corpus.conf / f"{ablation.config}.yaml"
    prepare(corpus.data, corpus.data_root, [*corpus.lexicon(shared), *corpus.parts(shared)])
    settings = shared_settings(corpus, shared, ablation)
    n_tokens = len(CTCData(settings).tokenizer.symbols)
    systems = []
    for changes in ablation.networks:
        model = network_of_size(
            settings, n_tokens, changes, ablation.parameters, f"{conf}: networks"
        )
        name = "-".join(f"{key}-{value}" for key, value in changes.items())
        sized = {**changes, "hidden_size": model.settings.hidden_size}
        given = [*ablation.settings, *(f"model.{key}={value}" for key, value in sized.items())]
        here = replace(corpus, out=out / name.replace(" ", "-"))
        results = run(here, shared, options.seeds, given)
        # other programs slow trainings down, so the shortest time is the best estimate
        minutes = min(minutes_of(here, shared, result.parent) for result in results)
        systems.append(TableRow(model.settings.layers, results, model.n_parameters, minutes, ""))
        lines = markdown(systems, ["greedy"], of_phones=False)
        write_text(out / "table.md", "\n".join(lines) + "\n")  # what is done so far
    print("\n".join(lines))
    print(out / "table.md")


def shared_settings(corpus: Corpus, shared: Path, ablation: Ablation) -> CTCSettings:
    """The settings that all networks share, with the changes that `ablation` makes."""
    parser = settings_parser("ablate", CTCSettings)
    add_trainer_options(parser)
    given = [*data_options(corpus, shared), *(f"--{setting}" for setting in ablation.settings)]
    return parse(
        parser, CTCSettings, [f"--config={shared}", f"--out={corpus.out}", *given]
    ).settings


def parse_options() -> argparse.Namespace:
    corpora = sorted(path.parent.name for path in ROOT.glob("conf/*/ablate.yaml"))
    parser = argparse.ArgumentParser(
        prog="ablate", usage=__doc__.splitlines()[2], allow_abbrev=False
    )
    parser.add_argument("corpus", choices=corpora, metavar="CORPUS", help=", ".join(corpora))
    parser.add_argument(
        "--data-root", type=path_of, help="folder with the corpora; default $ASR_DATA"
    )
    parser.add_argument(
        "--out", type=path_of, help="folder of the models; default exp/CORPUS/ablate"
    )
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each network; default 3")
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error(f"--seeds is {options.seeds}; expected 1 or more")
    return options


if __name__ == "__main__":
    with reported("ablate"):
        main()
