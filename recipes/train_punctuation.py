"""Train a model of punctuation and case: settings -> data -> model -> fit -> save.

python recipes/train_punctuation.py --config conf/novels/punctuation.yaml
  --out exp/novels/punctuation [--seed 2] ...
"""

import sys
from pathlib import Path

import pytorch_lightning as pl

from asr.config import parse, settings_parser
from asr.errors import reported
from asr.evaluation.provenance import commit
from asr.evaluation.punctuation import measure, tune_thresholds
from asr.training.punctuation import PunctuationTraining
from asr.training.punctuation_data import PunctuationData, PunctuationSettings
from asr.training.run import Run, add_trainer_options
from asr.transcribing.punctuation import Punctuation, save_punctuation


def main() -> None:
    parser = settings_parser("train_punctuation", PunctuationSettings)
    add_trainer_options(parser)
    settings, options, text, defaults = parse(parser, PunctuationSettings)
    data = PunctuationData(settings)
    run = Run(Path(options.out), text, data.digests, defaults)
    if run.is_finished():
        print(f"{run.out}: is trained already, with these settings", file=sys.stderr)
        return

    source = commit()  # before training, during which it may change
    words = data.read()
    pl.seed_everything(settings.seed, verbose=False)
    task = PunctuationTraining(settings, words)
    minutes = run.fit(task, data, options.trainer, settings.averaging, task.monitor)
    tagger = task.model.cpu().float().eval()
    tune_thresholds(tagger, settings.data.dev)
    measured = measure(tagger, settings.data.dev)
    trained_on = {
        "train": settings.data.train,
        "words": len(data.train.tagged),
        "sentences": len(data.train.ends),
        "epochs": task.current_epoch,
        "seed": settings.seed,
        "commit": source,
        "minutes": round(minutes, 1),
        "dev": settings.data.dev,
        **{f"dev_f1_{name}": round(found.counts.f1, 4) for name, found in measured.items()},
    }
    save_punctuation(run.out, Punctuation(tagger, data.train.spellings, trained_on))
    print(run.out)


if __name__ == "__main__":
    with reported("train_punctuation"):
        main()
