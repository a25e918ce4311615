"""A trained model -> a folder of a few megabytes, to be published or installed by name.

python recipes/package.py --model exp/en-small/ctc --out exp/en-small/package [--words FILE]
  [--card README.md]

Weights have half the digits, n-grams are packed, and checkpoints and results are left out. If
the tokens are phones, --words FILE keeps only these words of the lexicon: one per line, or a
dictionary.
--card FILE is copied to OUT/README.md: what the model was trained on, its licence, its error rates.
Measure the folder with recipes/evaluate.py: its error rates may differ in the last digits.
"""

import argparse
import shutil
import tempfile
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from asr.decoder import DecoderSettings, load_decoding, save_decoding
from asr.errors import InputError, listed, reported
from asr.files import path_of
from asr.folder import read_description
from asr.lm.load import load_language_model, save_rnnlm
from asr.lm.ngram import NgramModel, save_ngram
from asr.lm.rnnlm import RNNLM
from asr.model import load_model, save_model
from asr.recognizer import load
from asr.text.lexicon import Lexicon, read_words
from asr.text.tokenizer import PhoneTokenizer, Tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="package", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--model", type=path_of, required=True, help="a trained model's folder")
    parser.add_argument("--out", type=path_of, required=True, help="a folder, which must be new")
    parser.add_argument("--words", type=path_of, help="the words to keep of a lexicon of phones")
    parser.add_argument("--card", type=path_of, help="a description of the model, for people")
    options = parser.parse_args()
    if options.out.exists():
        raise InputError(f"{options.out}: already exists; expected a new folder")
    model = load_model(options.model)
    if options.words:
        words = read_words(options.words)
        model = replace(model, tokenizer=with_words(model.tokenizer, words, options.words))
    save_model(options.out, model, half=True)
    if settings := load_decoding(options.model):
        save_small_decoding(options.out, settings)
    if options.card:
        shutil.copyfile(options.card, options.out / "README.md")
    load(options.out, "cpu")
    print(f"{options.out}: {zipped_size(options.out) / 1e6:.1f} MB in an archive")


def with_words(tokenizer: Tokenizer, words: list[str], place: Path) -> PhoneTokenizer:
    """The tokenizer with a smaller lexicon.

    Raises:
        InputError: the tokens are not phones, or the lexicon lacks one of the words.
    """
    if not isinstance(tokenizer, PhoneTokenizer):
        raise InputError(f"--words is {place}; expected a model of phones, not {tokenizer.kind}")
    spoken = tokenizer.lexicon.pronunciations
    if missing := [word for word in words if word not in spoken]:
        raise InputError(f"{place}: the model's lexicon has no {listed(missing)}")
    return replace(tokenizer, lexicon=Lexicon({word: spoken[word] for word in words}))


def save_small_decoding(out: Path, settings: DecoderSettings) -> None:
    """Write the decoder's settings, and its language models with half the digits."""
    paths = dict.fromkeys(filter(None, (settings.lm, *settings.rescorers)))
    with tempfile.TemporaryDirectory() as folder:  # `save_decoding` copies from there
        small = {"": ""} | {path: f"{folder}/{n}" for n, path in enumerate(paths)}
        for path in paths:
            save_small_lm(Path(path), Path(small[path]))
        rescorers = tuple(small[path] for path in settings.rescorers)
        save_decoding(out, replace(settings, lm=small[settings.lm], rescorers=rescorers))


def save_small_lm(source: Path, folder: Path) -> None:
    """Write the folder of a language model with half the digits."""
    model, description = load_language_model(source), read_description(source)
    if isinstance(model, NgramModel):
        save_ngram(folder, model, description["settings"], description["trained_on"], packed=True)
    elif isinstance(model, RNNLM):
        save_rnnlm(folder, model, description["trained_on"], half=True)


def zipped_size(folder: Path) -> int:
    """Bytes that a folder's files take in a zip archive, as in a wheel."""
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder))
    return archive.tell()


if __name__ == "__main__":
    with reported("package"):
        main()
