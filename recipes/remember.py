"""What recurrent networks can remember, by three ways of computing their gradient.

python recipes/remember.py --config conf/sequences/remember.yaml --out exp/sequences/remember ...

settings -> trainings on generated sequences -> accuracies, time and memory: a table and a picture.
The same command goes on after the last finished training.
"""

import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from typing import TypeVar

from asr.config import from_dict, parse, settings_parser
from asr.errors import InputError, reported
from asr.evaluation.gradient_costs import gradient_costs
from asr.evaluation.provenance import commit, machine
from asr.evaluation.remember_report import Remembered, draw_remembered, remember_table
from asr.files import read_json, read_text, write_json, write_text
from asr.training.remember import CountingResult, RecallResult, train_counting, train_recall
from asr.training.remember_settings import RememberSettings

Result = TypeVar("Result", CountingResult, RecallResult)


def main() -> None:
    parser = settings_parser("remember", RememberSettings)
    settings, options, text, _ = parse(parser, RememberSettings)
    out = Path(options.out)
    start_or_resume(out, text)
    if (out / "results.json").exists():
        print(f"{out}: is finished already, with these settings", file=sys.stderr)
        return

    origin = {"commit": commit(), "machine": machine("cpu")}
    counting, recall = [], []
    for gradient in settings.gradients:
        path = out / f"runs/counting-{gradient}.json"
        train = partial(train_counting, settings, gradient)
        counting.append(kept_or_trained(path, CountingResult, train))
    distances = settings.recall.distances
    for cell, gradient, distance in product(settings.recall.cells, settings.gradients, distances):
        path = out / f"runs/recall-{cell}-{gradient}-{distance}.json"
        train = partial(train_recall, settings, cell, gradient, distance)
        recall.append(kept_or_trained(path, RecallResult, train))
    results = Remembered(counting, recall, gradient_costs(settings))

    lines = remember_table(results)
    write_text(out / "table.md", "\n".join(lines) + "\n")
    draw_remembered(out / "picture.png", results)
    minutes = round(sum(result.seconds for result in [*counting, *recall]) / 60, 1)
    write_json(out / "results.json", {**asdict(results), "minutes": minutes, **origin})
    print(*lines, out / "table.md", out / "picture.png", sep="\n")


def start_or_resume(out: Path, text: str) -> None:
    """Write the settings into the run's folder; raise InputError if others are there."""
    path = out / "settings.yaml"
    if path.exists() and read_text(path) != text:
        raise InputError(
            f"{out}: holds a run with other settings; give another --out, or remove the folder"
        )
    (out / "runs").mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def kept_or_trained(path: Path, kind: type[Result], train: Callable[[], Result]) -> Result:
    """The result in a file; if there is none, the result of a training, which is written there."""
    if path.exists():
        return from_dict(kind, read_json(path, "a result"), str(path))
    result = train()
    write_json(path, asdict(result))
    print(f"{path.stem}: {result.seconds:.1f} s", file=sys.stderr)
    return result


if __name__ == "__main__":
    with reported("remember"):
        main()
