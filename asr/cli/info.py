"""`asr info`: a model's folder -> its description."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from asr.cli.output import print_lines
from asr.errors import InputError, printable, reported
from asr.files import path_of

if TYPE_CHECKING:
    from asr.lm.ngram import NgramModel
    from asr.lm.rnnlm import RNNLM
    from asr.model import Model


def info(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            parser=path_of,
            help="A trained model's folder, or the name of an installed model.",
            show_default=False,
        ),
    ],
) -> None:
    """Describe a model: folder, tokens or units, layers, training data, licences, results."""
    with reported("asr info"):
        from asr.installed import model_folder

        folder = model_folder(model)
        rows = [("folder", str(folder)), *describe(folder)]
        rows += _licences(folder) + _measured(_results(folder))
        print_lines(f"{name:<12}{printable(value)}" for name, value in rows)


def describe(folder: Path) -> list[tuple[str, str]]:
    """Names and values that describe a model: tokens or units, layers, training data, decoding.

    Raises:
        InputError: the folder is not a model's, or can't be used.
    """
    from asr.folder import read_description
    from asr.model import load_model
    from asr.transcribing.punctuation import KIND

    description = read_description(folder)
    if "vocabulary" in description:
        return _language_model(folder, description)
    if description.get("kind") == KIND:
        return _punctuation(folder)
    return _rows(load_model(folder)) + _decoding(folder) + _own_punctuation(folder)


def _language_model(folder: Path, description: dict[str, Any]) -> list[tuple[str, str]]:
    from asr.lm.load import load_language_model
    from asr.lm.ngram import NgramModel

    model = cast("NgramModel | RNNLM", load_language_model(folder))  # folders have no other kind
    vocabulary = model.vocabulary
    rows = [("units", f"{len(vocabulary.symbols)} ({vocabulary.unit})")]
    if isinstance(model, NgramModel):
        sizes = ", ".join(f"{size:,}" for size in model.trie.sizes)
        rows.append(("n-grams", f"{sizes} (of 1 to {model.order})"))
    else:
        settings = model.settings
        layers = f"{settings.n_layers} x {settings.hidden_size} {settings.cell}"
        rows.append(("layers", f"{layers}, embeddings of {settings.embedding_size}"))
        rows.append(("parameters", f"{sum(weight.numel() for weight in model.parameters()):,}"))
    return [*rows, ("trained on", _listed(description["trained_on"]))]


def _punctuation(folder: Path) -> list[tuple[str, str]]:
    from asr.text.punctuation import MARKS
    from asr.transcribing.punctuation import load_punctuation

    found = load_punctuation(folder)
    tagger, settings = found.tagger, found.tagger.settings
    layers = f"{settings.n_layers} x {settings.hidden_size} {settings.cell} in both directions"
    return [
        ("model", f"punctuation ({' '.join(MARKS[1:])}) and case"),
        ("words", f"{len(tagger.words):,}, others by {settings.n_buckets:,} parts of words"),
        ("layers", f"{layers}, embeddings of {settings.embedding_size}"),
        ("parameters", f"{sum(weight.numel() for weight in tagger.parameters()):,}"),
        ("trained on", _listed(dict(found.trained_on))),
    ]


def _own_punctuation(folder: Path) -> list[tuple[str, str]]:
    """What the punctuation model in an acoustic model's folder was trained on, if there is one."""
    from asr.folder import inside
    from asr.transcribing.punctuation import FOLDER

    tagger = inside(folder, FOLDER)
    if not tagger.exists():
        return []
    return [("punctuation", dict(_punctuation(tagger))["trained on"])]


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _rows(model: "Model") -> list[tuple[str, str]]:
    features = model.features.settings
    bands = features.n_mels if features.kind == "log_mel" else features.n_mfcc
    spliced = f" {features.n_spliced} frames spliced on either side," if features.n_spliced else ""
    return [
        ("model", model.kind.title),
        ("tokens", f"{len(model.units)} ({model.tokenizer.kind}): {_tokens(model.units)}"),
        *_lexicon(model),
        (
            "features",
            f"{bands} {features.kind}, {features.n_deltas} deltas,{spliced}"
            f" {features.window_ms:g} ms every {features.hop_ms:g} ms at {features.sample_rate} Hz,"
            f" normalised: {features.normalisation}",
        ),
        *model.summary(),
        ("trained on", _listed(model.trained_on)),
    ]


def _lexicon(model: "Model") -> list[tuple[str, str]]:
    words = model.tokenizer.words
    return [("lexicon", f"{len(words):,} words")] if words else []


def _tokens(symbols: Sequence[str]) -> str:
    """All symbols; only the phones if they are the hundreds of units of phones in context."""
    from asr.hmm.trees import middle_phone

    phones = dict.fromkeys(map(middle_phone, symbols))
    if len(phones) < len(symbols):
        return f"{len(phones)} phones in their contexts: {' '.join(phones)}"
    return " ".join(map(_shown, symbols))


def _decoding(folder: Path) -> list[tuple[str, str]]:
    from asr.decoder import load_decoding

    settings = load_decoding(folder)
    if settings is None:
        return []
    beam = settings.beam
    parts = [f"{settings.decoder}, {beam.beam_width} prefixes"]
    inside = partial(os.path.relpath, start=folder)
    parts += [f"{inside(settings.lm)} x {beam.lm_weight:g}"] if settings.lm else []
    rescored = zip(settings.rescorers, settings.lm_weights, strict=True)
    parts += [f"rescored by {inside(path)} x {weight:g}" for path, weight in rescored]
    return [("decodes by", ", ".join(parts))]


def _licences(folder: Path) -> list[tuple[str, str]]:
    """The licences of the training data, as the model card states them."""
    from asr.evaluation.card import CARD, licences_of
    from asr.files import read_text
    from asr.folder import MAX_JSON_BYTES, check_bytes, inside

    card = inside(folder, CARD)
    if not card.is_file():
        return []
    check_bytes(card, MAX_JSON_BYTES)
    licences = licences_of(read_text(card, "a model card"))
    return [("licence", f"{corpus}: {licence}") for corpus, licence in licences]


def _measured(results: list[dict[str, Any]]) -> list[tuple[str, str]]:
    rows = []
    for result in results:
        for system in result["systems"]:
            low, high = _percent(system["wer_low"]), _percent(system["wer_high"])
            figures = f"WER {_percent(system['wer'])} ({low} to {high})"
            figures += f", CER {_percent(system['cer'])}"
            rows.append(("result", f"{result['manifest']}, {system['name']}: {figures}"))
    return rows


def _percent(rate: float | None) -> str:
    return "infinite" if rate is None else f"{rate:.2%}"


def _results(folder: Path) -> list[dict[str, Any]]:
    """The results that `recipes/evaluate.py` wrote to the model's folder."""
    from asr.folder import read_json_inside

    results = []
    for path in sorted(folder.glob("*/results.json")):
        values = read_json_inside(folder, str(path.relative_to(folder)), "results")
        if not _is_results(values):
            raise InputError(f"{path}: has no manifest or no error rates; expected results")
        results.append(values)
    return results


def _is_results(values: Any) -> bool:
    match values:
        case {"manifest": str(), "systems": [*systems]}:
            return all(map(_is_system, systems))
    return False


def _is_system(values: Any) -> bool:
    rates = ("wer", "wer_low", "wer_high", "cer")
    match values:
        case {"name": str(), **more}:
            found = [more.get(rate, "missing") for rate in rates]
            return all(rate is None or type(rate) in (int, float) for rate in found)
    return False


def _shown(symbol: str) -> str:
    return "<space>" if symbol == " " else symbol
