"""Estimate an n-gram language model: settings -> texts -> model -> save.

python recipes/train_ngram.py --config conf/an4/ngram.yaml --out exp/an4/ngram [--model.order 4] ...
--arpa also writes the model to OUT/ngram.arpa.gz, for other programs.
"""

import sys
import time
from pathlib import Path

from asr.config import parse, settings_parser
from asr.errors import reported
from asr.evaluation.provenance import commit
from asr.lm.ngram import load_ngram, save_ngram, write_ngram
from asr.training.ngram import NgramSettings, digests, estimated, is_estimated, plain


def main() -> None:
    parser = settings_parser("train_ngram", NgramSettings)
    parser.add_argument("--arpa", action="store_true", help="write ngram.arpa.gz beside the model")
    settings, options, *_ = parse(parser, NgramSettings)
    out, texts = Path(options.out), digests(settings)
    if is_estimated(out, settings, texts):
        print(f"{out}: is estimated already, with these settings", file=sys.stderr)
    else:
        start = time.monotonic()
        model, facts = estimated(settings)
        minutes = round((time.monotonic() - start) / 60, 1)
        trained_on = {"train": settings.data.train, **texts, **facts, "commit": commit()}
        trained_on["minutes"] = minutes
        save_ngram(out, model, plain(settings), trained_on, settings.packed)
        print(out)
    if options.arpa:  # also for a model of an earlier run
        write_ngram(out / "ngram.arpa.gz", load_ngram(out))


if __name__ == "__main__":
    with reported("train_ngram"):
        main()
