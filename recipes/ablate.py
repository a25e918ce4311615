"""Compare recurrent networks of equal size and equal training: cells, directions, depths.

python recipes/ablate.py CORPUS [--data-root DIR] [--out DIR] [--seeds N]

conf/CORPUS/ablate.yaml names the settings that all networks share, the number of parameters of
each, and the networks. Their width follows from that number. Each is trained with every seed and
evaluated by best path. Unchanged stages are skipped, so the same command goes on where it stopped.

Source: Graves, Mohamed and Hinton 2013, arXiv:1303.5778, table 1.
"""

import argparse
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pipeline import Corpus, minutes_of, prepare, run

from asr.config import from_dict, read_yaml
from asr.errors import InputError, reported
from asr.evaluation.report import TableRow, markdown
from asr.files import path_of, write_text
from asr.networks.acoustic import AcousticModel, AcousticSettings
from asr.training.ctc import CTCData, CTCSettings

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Ablation:
    """The contents of ablate.yaml.

    Args:
        config: name of the settings that all networks share, such as ctc-mfcc.
        settings: changes of these settings, as key=value.
        parameters: number of parameters that each network has as nearly as units allow.
        networks: settings of each network, under `model`, without its size.
    """

    config: str
    settings: tuple[str, ...]
    parameters: int
    networks: tuple[dict[str, Any], ...]


def main() -> None:
    options = parse()
    conf = ROOT / "conf" / options.corpus / "ablate.yaml"
    ablation = from_dict(Ablation, read_yaml(conf), str(conf))
    out = options.out or Path(os.path.relpath(ROOT / "exp" / options.corpus / "ablate"))
    corpus = Corpus(ROOT, options.corpus, out, options.data_root)
    shared = corpus.conf / f"{ablation.config}.yaml"
    prepare(corpus.data, corpus.data_root, [*corpus.lexicon(shared), *corpus.parts(shared)])
    values = {key: value for key, value in read_yaml(shared).items() if key != "trainer"}
    settings = from_dict(CTCSettings, values, str(shared))
    n_tokens = len(CTCData(settings).tokenizer.symbols)
    systems = []
    for values in ablation.networks:
        model = network(settings, n_tokens, values, ablation.parameters, f"{conf}: networks")
        name = " ".join(f"{key}={value}" for key, value in values.items())
        changes = {**values, "hidden_size": model.settings.hidden_size}
        given = [*ablation.settings, *(f"model.{key}={value}" for key, value in changes.items())]
        folder = out / name.replace(" ", "-").replace("=", "-")
        here = replace(corpus, out=folder)
        results = run(here, shared, options.seeds, given)
        minutes = min(minutes_of(here, shared, result.parent) for result in results)
        title, *_ = model.summary(settings.features.hop_ms)[1].split(", a frame")
        systems.append(TableRow(title, results, model.n_parameters, minutes, ""))
        lines = markdown(systems, ["greedy"], of_phones=False)
        write_text(out / "table.md", "\n".join(lines) + "\n")  # what is done so far
    print("\n".join(lines))
    print(out / "table.md")


def network(
    settings: CTCSettings, n_tokens: int, values: dict[str, Any], n_parameters: int, place: str
) -> AcousticModel:
    """The network whose number of parameters is nearest to the wanted one, without weights.

    Args:
        settings: that all networks share.
        n_tokens: number of tokens.
        values: settings of this network, without its size.
        n_parameters: the wanted number.
        place: where the values come from; the error message starts with it.

    Raises:
        InputError: a setting is unknown or out of range, or the wanted number is too small.
    """

    def of_width(hidden_size: int) -> AcousticModel:
        chosen = {**asdict(settings.model), **values, "hidden_size": hidden_size}
        model = from_dict(AcousticSettings, chosen, place)
        with torch.device("meta"):
            return AcousticModel(settings.features.n_features, n_tokens, model)

    least, most = 1, 2
    if of_width(least).n_parameters > n_parameters:
        found = f"{place}: {values} has {of_width(least).n_parameters} parameters with one unit"
        raise InputError(f"{found}; expected at most {n_parameters}")
    while of_width(most).n_parameters < n_parameters:
        least, most = most, 2 * most
    while most - least > 1:
        middle = (least + most) // 2
        below = of_width(middle).n_parameters <= n_parameters
        least, most = (middle, most) if below else (least, middle)
    return min(map(of_width, (least, most)), key=lambda m: abs(m.n_parameters - n_parameters))


def parse() -> argparse.Namespace:
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
