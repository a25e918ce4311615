"""Precision, recall and F1 of a model's punctuation and case on a punctuated text.

python recipes/evaluate_punctuation.py --model exp/novels/punctuation
  --text data/novels/test-punctuated.txt [--out DIR]
"""

import argparse
import time

from asr.errors import reported
from asr.evaluation.provenance import commit, machine
from asr.evaluation.punctuation import measure, measured_table, measured_values
from asr.files import file_digest, path_of, write_json
from asr.folder import WEIGHTS
from asr.transcribing.punctuation import load_punctuation


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="evaluate_punctuation", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--model", type=path_of, required=True, help="a punctuation model's folder")
    parser.add_argument(
        "--text", type=path_of, required=True, help="a text with marks and capitals"
    )
    parser.add_argument(
        "--out", type=path_of, help="folder of punctuation.json (default: MODEL/NAME of the text)"
    )
    options = parser.parse_args()
    started = time.perf_counter()
    measured = measure(load_punctuation(options.model).tagger, options.text)
    print(measured_table(measured))
    out = options.out or options.model / options.text.stem
    out.mkdir(parents=True, exist_ok=True)
    values = {
        "model": str(options.model),
        "text": str(options.text),
        "sha256": {
            "weights": file_digest(options.model / WEIGHTS),
            "text": file_digest(options.text),
        },
        "commit": commit(),
        "machine": machine("cpu"),
        "minutes": round((time.perf_counter() - started) / 60, 2),
        "measured": measured_values(measured),
    }
    write_json(out / "punctuation.json", values)


if __name__ == "__main__":
    with reported("evaluate_punctuation"):
        main()
