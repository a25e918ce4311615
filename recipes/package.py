"""A trained model -> a folder of a few megabytes, to be published or installed by name.

python recipes/package.py --model exp/en-small/ctc --out exp/en-small/rounded [--lm-words]
  [--corpora data/en-small/README.md] [--results FILE ...] [--limits FILE]
  [--punctuation exp/novels/punctuation]

Weights are rounded to 16 bits, n-grams are packed, and checkpoints and results are left out. With
--lm-words, a lexicon of phones keeps only the words that the search's language model knows.

OUT/README.md is the model card. It has the hours and the licences of the training data from
--corpora, the error rates from the results.json files of --results, and what the model does badly
from --limits, as Markdown. Results have to be of MODEL. To state those of the rounded weights,
package once, measure OUT with recipes/evaluate.py, and package OUT again with these results.
"""

import argparse
import tempfile
import time
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from asr.cli.info import describe
from asr.decoder import DecoderSettings, load_decoding, save_decoding
from asr.errors import InputError, reported, say
from asr.evaluation.card import CARD, CardFacts, model_card, read_corpora, read_measured
from asr.files import file_digest, path_of, read_text, write_text
from asr.folder import WEIGHTS, inside, read_description
from asr.lm.load import load_language_model, save_rnnlm
from asr.lm.ngram import NgramModel, save_ngram
from asr.lm.protocol import LanguageModel
from asr.lm.rnnlm import RNNLM
from asr.model import save_model
from asr.recognizer import load
from asr.text.lexicon import Lexicon
from asr.text.tokenizer import PhoneTokenizer, Tokenizer
from asr.transcribing.punctuation import FOLDER as PUNCTUATION
from asr.transcribing.punctuation import load_punctuation, save_punctuation

MAX_BYTES = 30_000_000
"""Maximum size of a model that comes with the package."""

MAX_LOAD_S = 2
"""Maximum processor time for loading it, in seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="package", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--model", type=path_of, required=True, help="a trained model's folder")
    parser.add_argument("--out", type=path_of, required=True, help="a folder, which must be new")
    parser.add_argument(
        "--lm-words",
        action="store_true",
        help="keep only the words of the lexicon that the search's language model knows",
    )
    parser.add_argument("--corpora", type=path_of, help="README.md of the training data")
    parser.add_argument(
        "--results", type=path_of, nargs="+", default=[], help="results.json files of the model"
    )
    parser.add_argument("--limits", type=path_of, help="a text on what the model does badly")
    parser.add_argument(
        "--punctuation",
        type=path_of,
        help="a punctuation model's folder (default: the model's own)",
    )
    options = parser.parse_args()
    if options.out.exists():
        raise InputError(f"{options.out}: already exists; expected a new folder")
    if options.lm_words and options.results:
        raise InputError("--results are of all words of the lexicon; expected none with --lm-words")
    recognizer = load(options.model, "cpu")
    model, decoding = recognizer.model, recognizer.decoder.settings
    corpora, hours = options.corpora, model.trained_on.get("hours")
    facts = CardFacts(
        model.kind.title,
        corpora=read_corpora(corpora, hours) if corpora else None,
        measured=[read_measured(path, options.model, decoding) for path in options.results],
        limits=read_text(options.limits) if options.limits else "",
    )
    if options.lm_words:
        lm = load_language_model(decoding.lm) if decoding.lm else None
        model = replace(model, tokenizer=with_known_words(model.tokenizer, lm))
    save_model(options.out, model, half=True)
    if settings := load_decoding(options.model):
        save_small_decoding(options.out, settings)
    punctuation = options.punctuation or inside(options.model, PUNCTUATION)
    if options.punctuation or punctuation.exists():
        save_punctuation(options.out / PUNCTUATION, load_punctuation(punctuation))
    write_card(options.out, facts, options.model)
    print_sizes(options.out)


def with_known_words(tokenizer: Tokenizer, lm: LanguageModel | None) -> PhoneTokenizer:
    """The tokenizer with the words of its lexicon that a language model knows.

    Raises:
        InputError: the tokens are not phones, or the language model is not one of words.
    """
    if not isinstance(tokenizer, PhoneTokenizer):
        raise InputError(f"--lm-words is for a lexicon of phones; the model has {tokenizer.kind}")
    if lm is None or lm.vocabulary.unit != "word":
        raise InputError("--lm-words: the model's search has no language model of words")
    known = set(lm.vocabulary.symbols)
    spoken = tokenizer.lexicon.pronunciations.items()
    return replace(
        tokenizer, lexicon=Lexicon({word: said for word, said in spoken if word in known})
    )


def save_small_decoding(out: Path, settings: DecoderSettings) -> None:
    """Write the decoder's settings, and its small language models."""
    paths = dict.fromkeys(filter(None, (settings.lm, *settings.rescorers)))
    with tempfile.TemporaryDirectory() as folder:  # `save_decoding` copies from there
        small = {"": ""} | {path: f"{folder}/{n}" for n, path in enumerate(paths)}
        for path in paths:
            save_small_lm(Path(path), Path(small[path]))
        rescorers = tuple(small[path] for path in settings.rescorers)
        save_decoding(out, replace(settings, lm=small[settings.lm], rescorers=rescorers))


def save_small_lm(source: Path, folder: Path) -> None:
    """Write the folder of a language model, its weights rounded to 16 bits or packed."""
    model, description = load_language_model(source), read_description(source)
    if isinstance(model, NgramModel):
        save_ngram(folder, model, description["settings"], description["trained_on"], packed=True)
    elif isinstance(model, RNNLM):
        save_rnnlm(folder, model, description["trained_on"], half=True)


def write_card(out: Path, facts: CardFacts, source: Path) -> None:
    """Write the model card, with the packaged model's settings and size."""
    facts = replace(
        facts,
        rows=describe(out),
        size_mb=size(out) / 1e6,
        is_rounded=file_digest(out / WEIGHTS) != file_digest(source / WEIGHTS),
    )
    write_text(out / CARD, model_card(out.resolve().name, facts))


def print_sizes(out: Path) -> None:
    """Print the size and the loading time of a folder; warn of those too large to come with asr."""
    start = time.process_time()  # other programs may be busy
    load(out, "cpu")
    seconds, n_bytes = time.process_time() - start, size(out)
    sizes = f"{n_bytes / 1e6:.1f} MB, {zipped_size(out) / 1e6:.1f} MB in an archive"
    print(f"{out}: {sizes}, loaded in {seconds:.2f} s of processor time")
    if n_bytes > MAX_BYTES or seconds > MAX_LOAD_S:
        say(
            "package",
            f"warning: {out}: has {n_bytes / 1e6:.1f} MB and loads in {seconds:.2f} s; expected at"
            f" most {MAX_BYTES / 1e6:.0f} MB and {MAX_LOAD_S} s if it is to come with the package",
        )


def size(folder: Path) -> int:
    """Bytes of a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


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
