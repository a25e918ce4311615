"""Accuracy of pronunciations of out-of-vocabulary words, on every 20th word of the CMU dictionary.

python tests/benchmarks/letter_to_sound.py [EVERY]

The model is trained on the other words, and pronounces every EVERY-th (default 1) of the words left
out. A pronunciation is right if the dictionary has it for the word; phone errors are counted
against the nearest pronunciation of the dictionary.
"""

import sys
import time

from asr.corpus.letter_to_sound import LetterToSound
from asr.scoring.error_rates import ErrorCounts, word_errors
from asr.text.lexicon import Lexicon, cmudict_lexicon


def main(every: int) -> None:
    """Print rates and times."""
    spoken = cmudict_lexicon().pronunciations
    words = sorted(word for word in spoken if word.replace("'", "").isalpha())
    left_out = set(words[::20])
    start = time.perf_counter()
    model = LetterToSound.train(Lexicon({w: s for w, s in spoken.items() if w not in left_out}))
    print(f"trained on {len(spoken) - len(left_out)} words: {time.perf_counter() - start:.0f} s")

    tried = sorted(left_out)[::every]
    right, errors = 0, ErrorCounts()
    start = time.perf_counter()
    for word in tried:
        guess = " ".join(model.pronounce(word))
        known = [" ".join(phones) for phones in spoken[word]]
        right += guess in known
        errors += min(word_errors(known, [guess] * len(known)), key=lambda counts: counts.rate)
    seconds = time.perf_counter() - start
    print(f"{len(tried)} words: {right / len(tried):.1%} right, phone errors {errors.rate:.1%}")
    print(f"{1000 * seconds / len(tried):.0f} ms a word")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
