"""Train a recurrent language model: settings -> data -> model -> fit -> save.

python recipes/train_lm.py --config conf/an4/lm.yaml --out exp/an4/lm [--seed 2] ...
"""

import sys
from dataclasses import asdict
from pathlib import Path

import pytorch_lightning as pl

from asr.config import parse, settings_parser
from asr.errors import reported
from asr.evaluation.provenance import commit
from asr.lm.bench.perplexity import perplexity
from asr.lm.load import save_rnnlm
from asr.text.sentences import read_sentences
from asr.training.lm import LMData, LMSettings, LMTraining, mean_loss, measures
from asr.training.run import Run, add_trainer_options


def main() -> None:
    parser = settings_parser("train_lm", LMSettings)
    add_trainer_options(parser)
    settings, options, text, defaults = parse(parser, LMSettings)
    data = LMData(settings)
    run = Run(Path(options.out), text, data.digests, defaults)
    if run.is_finished():
        print(f"{run.out}: is trained already, with these settings", file=sys.stderr)
        return

    source = commit()  # before training, during which it may change
    data.encode(run.out / "units")
    pl.seed_everything(settings.seed, verbose=False)
    task = LMTraining(settings, data.vocabulary)
    minutes = run.fit(task, data, options.trainer, settings.averaging, monitor="dev_loss")

    model = task.model.cpu().float().eval()
    dev_loss = mean_loss(model, data.dev_chunks())  # with the earlier sentences as context
    alone = perplexity(model, read_sentences(settings.data.dev), settings.data.dev).whole
    trained_on = {
        "train": settings.data.train,
        **asdict(data.train.counts),
        "epochs": task.current_epoch,
        "seed": settings.seed,
        "commit": source,
        "minutes": round(minutes, 1),
        "dev": settings.data.dev,
        "dev_units": data.dev.counts.units,
        "dev_unknown": data.dev.counts.unknown,
        **{f"dev_{name}": value for name, value in measures(dev_loss, settings.data.unit).items()},
        "dev_perplexity_alone": alone.per_unit,
    }
    save_rnnlm(run.out, model, trained_on)
    print(run.out)


if __name__ == "__main__":
    with reported("train_lm"):
        main()
