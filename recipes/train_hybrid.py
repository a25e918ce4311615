"""Train a network on an HMM's alignment: settings -> data -> model -> fit -> save.

python recipes/train_hybrid.py --config conf/an4/hybrid.yaml --out exp/an4/hybrid [--seed 2] ...
"""

import sys
from pathlib import Path

import pytorch_lightning as pl

from asr.config import parse, settings_parser
from asr.errors import reported
from asr.evaluation.provenance import commit
from asr.model import Model, save_model
from asr.training.hybrid import HybridTraining
from asr.training.hybrid_data import HybridData, HybridSettings
from asr.training.run import Run, add_trainer_options


def main() -> None:
    parser = settings_parser("train_hybrid", HybridSettings)
    add_trainer_options(parser)
    settings, options, text, defaults = parse(parser, HybridSettings)
    data = HybridData(settings)
    run = Run(Path(options.out), text, data.digests, defaults)
    if run.is_finished():
        print(f"{run.out}: is trained already, with these settings", file=sys.stderr)
        return

    source = commit()  # before training, during which it may change
    pl.seed_everything(settings.seed, verbose=False)
    task = HybridTraining(settings, n_pdfs=len(data.topology.self_loops))
    minutes = run.fit(task, data, options.trainer, settings.averaging, monitor=task.monitor)

    trained_on = {
        "train": settings.data.train,
        "hmm": settings.data.hmm,
        "utterances": len(data.train),
        "hours": round(data.hours, 3),
        "epochs": task.current_epoch,
        "seed": settings.seed,
        "commit": source,
        "minutes": round(minutes, 1),
    }
    model = Model(task.features, task.emissions, data.tokenizer, trained_on, data.topology)
    save_model(run.out, model)
    print(run.out)


if __name__ == "__main__":
    with reported("train_hybrid"):
        main()
