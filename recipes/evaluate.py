"""Measure a model on a manifest: hypotheses beside references, error rates, speed and memory.

python recipes/evaluate.py --model exp/an4/ctc --manifest data/an4/test.jsonl [--decoder greedy]
"""

import argparse
from pathlib import Path

from asr.errors import reported
from asr.evaluation import evaluate, write_results, write_texts
from asr.manifest import check_audio, read_manifest
from asr.recognizer import load


def main() -> None:
    parser = argparse.ArgumentParser(prog="evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="a trained model's folder")
    parser.add_argument("--manifest", type=Path, required=True, help="utterances with their texts")
    parser.add_argument("--decoder", choices=["greedy"], default="greedy", help="how to search")
    parser.add_argument("--out", type=Path, help="default: a folder in the model's")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    options = parser.parse_args()
    out = options.out or options.model / options.manifest.stem

    utterances = read_manifest(options.manifest)
    check_audio(options.manifest, utterances)
    recognizer = load(options.model, options.device)
    result, transcripts = evaluate(recognizer, utterances, options.decoder)
    write_texts(out, utterances, transcripts, options.decoder)
    write_results(out, options.model, options.manifest, [result], recognizer.device)
    print(
        f"{options.decoder}: WER {result.wer:.2%} ({result.wer_low:.2%} to {result.wer_high:.2%}),"
        f" CER {result.cer:.2%}; {result.substitutions} substitutions,"
        f" {result.deletions} deletions, {result.insertions} insertions in {result.words} words;"
        f" real-time factor {result.real_time_factor:.4f}, {result.peak_memory_mb:.0f} MiB"
    )
    print(out)


if __name__ == "__main__":
    with reported("evaluate"):
        main()
