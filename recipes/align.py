"""Times of the words and units of a manifest's texts, from any model.

python recipes/align.py --model exp/an4/hmm --manifest data/an4/test.jsonl --out times.jsonl

Writes a manifest with the times of words and units (as its phones), without silences. If the input
manifest has times, prints the errors of the boundaries. Words that a large lexicon of phones lacks
are pronounced by their letters. If utterances can't be aligned, names all of them and writes
nothing.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from asr.alignment.aligner import align_text
from asr.alignment.pieces import log_probs_in_pieces
from asr.alignment.times import TimedLabel, boundary_accuracy, boundary_errors
from asr.corpus.letter_to_sound import with_guesses
from asr.corpus.manifest import Utterance, check_audio, read_manifest, write_manifest
from asr.corpus.recordings import load_utterance
from asr.errors import InputError, reported
from asr.evaluation.text_case import case_fault
from asr.files import path_of
from asr.installed import model_folder
from asr.model import load_model
from asr.recognizer import Recognizer, pick_device
from asr.text.normalisation import canonical


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="align", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--model", type=path_of, required=True, help="a trained model's folder")
    parser.add_argument(
        "--manifest", type=path_of, required=True, help="utterances with their texts"
    )
    parser.add_argument("--out", type=path_of, required=True, help="a manifest, which must be new")
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="default auto"
    )
    options = parser.parse_args()
    if options.out.exists():
        raise InputError(f"{options.out}: already exists; expected a new file")
    model = load_model(model_folder(options.model), pick_device(options.device))
    utterances = read_manifest(options.manifest)
    check_audio(options.manifest, utterances)
    words = [word for utterance in utterances for word in canonical(utterance.text).split()]
    tokenizer = with_guesses(model.tokenizer, words, f"align: {options.manifest}")
    recognizer = Recognizer(replace(model, tokenizer=tokenizer))
    found, problems = [], []
    for utterance in utterances:
        try:
            found.append(aligned(recognizer, utterance))
        except InputError as error:
            problems.append(f"{utterance.id}: {error}")
    if problems:
        fault = case_fault([utterance.text for utterance in utterances], recognizer.model.tokenizer)
        told = [f"{fault}; expected the model's case"] if fault else []
        raise InputError(f"{options.manifest}: {'; '.join([*told, *problems])}")
    write_manifest(options.out, found)
    for name in ("words", "phones"):
        print_accuracy(name, utterances, found)
    print(options.out)


def aligned(recognizer: Recognizer, utterance: Utterance) -> Utterance:
    """The utterance with the times of its words and phones; it may be hours long."""
    waveform = torch.from_numpy(load_utterance(utterance, recognizer.sample_rate))
    recognizer.check_length(waveform, utterance.audio)
    log_probs = log_probs_in_pieces(recognizer.model, waveform, utterance.audio)
    found = align_text(recognizer.model, log_probs, utterance.text, utterance.duration)
    words = [TimedLabel(word.text, word.start, word.end) for word in found.words]
    return replace(utterance, words=rounded(words), phones=rounded(found.phones))


def rounded(labels: Sequence[TimedLabel]) -> tuple[TimedLabel, ...]:
    """Labels with times rounded to a tenth of a millisecond."""
    return tuple(s._replace(start=round(s.start, 4), end=round(s.end, 4)) for s in labels)


def print_accuracy(name: str, given: Sequence[Utterance], found: Sequence[Utterance]) -> None:
    """Print the errors of the boundaries on stderr, if the manifest has times.

    Only utterances with the same labels in both are compared.

    Args:
        name: "words" or "phones".
        given: utterances of the manifest.
        found: the same utterances with the times of the alignment.
    """
    pairs = [(getattr(g, name), getattr(f, name)) for g, f in zip(given, found, strict=True)]
    errors = [
        boundary_errors(reference, times, utterance.duration)
        for utterance, (reference, times) in zip(given, pairs, strict=True)
        if reference and [label for label, *_ in reference] == [label for label, *_ in times]
    ]
    if not any(reference for reference, _ in pairs):
        return
    if any(map(len, errors)):
        accuracy = boundary_accuracy(np.concatenate(errors))
        side = "late" if accuracy.bias > 0 else "early"
        print(
            f"{name}: {accuracy.boundaries} boundaries, {accuracy.within_20_ms:.1%} within 20 ms,"
            f" {accuracy.within_50_ms:.1%} within 50 ms; off by {1000 * accuracy.mean_absolute:.0f}"
            f" ms in the mean, {abs(1000 * accuracy.bias):.0f} ms too {side}",
            file=sys.stderr,
        )
    print(f"{name}: {len(errors)} of {len(given)} utterances have the same labels", file=sys.stderr)


if __name__ == "__main__":
    with reported("align"):
        main()
