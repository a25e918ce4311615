"""Train an acoustic model with CTC: settings -> data -> model -> fit -> save.

python recipes/train_ctc.py --config conf/digits/ctc.yaml --out exp/digits/ctc [--seed 2] ...
"""

import sys
from pathlib import Path

import pytorch_lightning as pl

from asr.config import parse, settings_parser
from asr.errors import InputError, reported
from asr.evaluation.provenance import commit
from asr.model import Model, save_model
from asr.training.ctc import CTCData, CTCSettings, CTCTraining
from asr.training.run import Run, add_trainer_options


def main() -> None:
    train("train_ctc", is_classifier=False)


def train(program: str, is_classifier: bool) -> None:
    """Train a model by the command line.

    Args:
        program: name of the recipe.
        is_classifier: whether the network gives an utterance one output.
    """
    parser = settings_parser(program, CTCSettings)
    add_trainer_options(parser)
    settings, options, text, defaults = parse(parser, CTCSettings)
    if settings.model.pooling != is_classifier:
        found = settings.model.pooling
        raise InputError(f"model.pooling is {found}; expected {is_classifier} with {program}")
    data = CTCData(settings)
    run = Run(Path(options.out), text, data.digests, defaults)
    if run.is_finished():
        print(f"{run.out}: is trained already, with these settings", file=sys.stderr)
        return

    source = commit()  # before training, during which it may change
    pl.seed_everything(settings.seed, verbose=False)
    task = CTCTraining(settings, data.tokenizer)
    minutes = run.fit(task, data, options.trainer, settings.averaging, monitor=task.monitor)

    trained_on = {
        "train": settings.data.train,
        "utterances": len(data.train),
        "hours": round(data.hours, 3),
        "epochs": task.current_epoch,
        "seed": settings.seed,
        "commit": source,
        "minutes": round(minutes, 1),
    }
    if settings.data.start:
        trained_on["start"] = settings.data.start
    save_model(run.out, Model(task.features, task.acoustic, task.tokenizer, trained_on))
    print(run.out)


if __name__ == "__main__":
    with reported("train_ctc"):
        main()
