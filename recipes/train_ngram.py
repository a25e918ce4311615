"""Estimate an n-gram language model: settings -> texts -> model -> save.

python recipes/train_ngram.py --config conf/an4/ngram.yaml --out exp/an4/ngram [--model.order 4] ...
--arpa also writes the model to OUT/ngram.arpa.gz, for other programs.
"""

import sys
import time
from pathlib import Path

from asr.config import parse, settings_parser
from asr.errors import InputError, reported
from asr.evaluation.provenance import commit
from asr.lm.estimate import estimate, prune_by_entropy
from asr.lm.ngram import NgramModel, load_ngram, save_ngram, write_ngram
from asr.lm.vocabulary import UNK, Vocabulary
from asr.text.sentences import read_sentences
from asr.training.ngram import NgramSettings, is_estimated, plain
from asr.training.stream import digest_of_sentences


def main() -> None:
    parser = settings_parser("train_ngram", NgramSettings)
    parser.add_argument("--arpa", action="store_true", help="write ngram.arpa.gz beside the model")
    settings, options, *_ = parse(parser, NgramSettings)
    out, data = Path(options.out), settings.data
    texts = {"train": data.train, "sha256": digest_of_sentences(data.train)}
    if is_estimated(out, settings, texts["sha256"]):
        print(f"{out}: is estimated already, with these settings", file=sys.stderr)
    else:
        start = time.monotonic()
        vocabulary = Vocabulary.from_texts(
            read_sentences(data.train), data.unit, data.max_size, data.min_count, data.text
        )
        encoded = [vocabulary.encode(sentence) for sentence in read_sentences(data.train)]
        sentences = [units for units in encoded if units]
        try:
            trie = estimate(sentences, len(vocabulary.symbols), settings.model)
        except InputError as error:
            raise InputError(f"{data.train}: {error}") from None
        if settings.entropy:
            trie = prune_by_entropy(trie, settings.entropy)
        trained_on = {
            **texts,
            "sentences": len(sentences),
            "empty": len(encoded) - len(sentences),
            "units": sum(map(len, sentences)) + len(sentences),
            "unknown": sum(sentence.count(UNK) for sentence in sentences),
            "commit": commit(),
            "minutes": round((time.monotonic() - start) / 60, 1),
        }
        model = NgramModel(vocabulary, trie)
        save_ngram(out, model, plain(settings), trained_on, settings.packed)
        print(out)
    if options.arpa:  # also for a model of an earlier run
        write_ngram(out / "ngram.arpa.gz", load_ngram(out))


if __name__ == "__main__":
    with reported("train_ngram"):
        main()
