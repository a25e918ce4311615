"""Train an HMM with Gaussian mixtures: settings -> data -> model -> fit -> save.

python recipes/train_hmm.py --config conf/an4/hmm.yaml --out exp/an4/hmm ...
python recipes/train_hmm.py --config conf/an4/hmm-tri.yaml --out exp/an4/hmm-tri ...
"""

import sys
from pathlib import Path

from asr.config import parse, settings_parser
from asr.errors import reported
from asr.evaluation.provenance import commit
from asr.hmm.emissions import GmmEmissions
from asr.model import Model, save_model
from asr.training.hmm import HmmTraining, trained_parts
from asr.training.hmm_data import HmmData
from asr.training.hmm_settings import HmmSettings
from asr.training.run import AveragingSettings, Run, add_trainer_options


def main() -> None:
    parser = settings_parser("train_hmm", HmmSettings)
    add_trainer_options(parser)
    parser.set_defaults({"trainer.max_epochs": 40, "trainer.gradient_clip_val": None})
    settings, options, text, defaults = parse(parser, HmmSettings)
    data = HmmData(settings)
    run = Run(Path(options.out), text, data.digests, defaults)
    if run.is_finished():
        print(f"{run.out}: is trained already, with these settings", file=sys.stderr)
        return

    source = commit()  # before training, during which it may change
    initial = data.tie(run.checkpoint)  # mixtures of triphones
    task = HmmTraining(settings, data.topology, data.tokenizer.symbols, initial)
    only_the_last = AveragingSettings(which="last", n_epochs=1)
    minutes = run.fit(task, data, options.trainer, only_the_last, monitor="step")

    trained_on = {
        "train": settings.data.train,
        "utterances": len(data.train),
        "hours": round(data.hours, 3),
        "epochs": task.current_epoch,
        "commit": source,
        "minutes": round(minutes, 1),
    }
    if settings.data.start:
        trained_on["start"] = settings.data.start
    gmm, topology = trained_parts(task)
    emissions = GmmEmissions(gmm)
    save_model(run.out, Model(data.features, emissions, data.tokenizer, trained_on, topology))
    print(run.out)


if __name__ == "__main__":
    with reported("train_hmm"):
        main()
