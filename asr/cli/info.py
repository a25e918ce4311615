"""`asr info`: a model's folder -> what it is."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from asr.errors import InputError, reported

if TYPE_CHECKING:
    from asr.lm.ngram import NgramModel
    from asr.lm.rnnlm import RNNLM
    from asr.model import Model


def info(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A trained model's folder.", show_default=False)
    ],
) -> None:
    """What a model is: tokens or units, layers, parameters, what it was trained on, results."""
    with reported("asr info"):
        from asr.folder import read_description

        description = read_description(model)
        if "vocabulary" in description:
            rows = _language_model(model, description)
        else:
            from asr.model import load_model

            rows = _rows(load_model(model)) + _decoding(model) + _measured(_results(model))
        for name, value in rows:
            typer.echo(f"{name:<12}{value}")


def _language_model(folder: Path, description: dict[str, Any]) -> list[tuple[str, str]]:
    from asr.lm.load import load_language_model
    from asr.lm.ngram import NgramModel

    model = cast("NgramModel | RNNLM", load_language_model(folder))  # a folder has no other
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


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _rows(model: "Model") -> list[tuple[str, str]]:
    features = model.features.settings
    symbols = model.tokenizer.symbols
    if model.topology is not None:
        symbols = symbols[1:]  # an HMM has no blank
    bands = features.n_mels if features.kind == "log_mel" else features.n_mfcc
    spliced = f" {features.n_spliced} frames spliced on either side," if features.n_spliced else ""
    return [
        ("model", _kind(model)),
        ("tokens", f"{len(symbols)} ({model.tokenizer.kind}): {_tokens(model, symbols)}"),
        *_lexicon(model),
        (
            "features",
            f"{bands} {features.kind}, {features.n_deltas} deltas,{spliced}"
            f" {features.window_ms:g} ms every {features.hop_ms:g} ms at {features.sample_rate} Hz,"
            f" normalised: {features.normalisation}",
        ),
        *_acoustic(model),
        ("trained on", _listed(model.trained_on)),
    ]


def _kind(model: "Model") -> str:
    from asr.hmm.emissions import GmmEmissions

    if model.topology is None:
        return "CTC"
    return "HMM" if isinstance(model.acoustic, GmmEmissions) else "hybrid of a network and an HMM"


def _lexicon(model: "Model") -> list[tuple[str, str]]:
    from asr.text.tokenizer import PhoneTokenizer

    if not isinstance(model.tokenizer, PhoneTokenizer):
        return []
    return [("lexicon", f"{len(model.tokenizer.lexicon.pronunciations):,} words")]


def _tokens(model: "Model", symbols: Sequence[str]) -> str:
    """All of them; of units in context, which are hundreds, their phones alone."""
    if model.topology is not None:
        from asr.hmm.trees import middle_phone

        phones = dict.fromkeys(map(middle_phone, symbols))
        if len(phones) < len(symbols):
            return f"{len(phones)} phones in their contexts: {' '.join(phones)}"
    return " ".join(map(_shown, symbols))


def _acoustic(model: "Model") -> list[tuple[str, str]]:
    from asr.hmm.emissions import GmmEmissions, HybridEmissions

    rows = []
    if model.topology is not None:
        J, Z = model.topology.pdfs.shape[1], len(model.topology.silence)
        pdfs = f"{len(model.topology.self_loops)} pdfs"
        rows.append(("states", f"{J} a token, {Z} of silence, {pdfs}"))
    if isinstance(model.acoustic, GmmEmissions):
        n_components = int(model.acoustic.gmm.n_components.sum())
        return [
            *rows,
            ("Gaussians", f"{n_components:,}"),
            ("parameters", f"{model.n_parameters:,}"),
        ]
    network = model.acoustic
    if isinstance(network, HybridEmissions):
        network = network.network
    settings = network.settings
    directions = "bidirectional" if settings.bidirectional else "forward"
    convolutions = f"2 convolutions of {settings.conv_channels} channels, "
    frame_ms = model.features.settings.hop_ms * settings.time_reduction
    layers = f"{convolutions if settings.conv_channels else ''}{settings.n_layers} x"
    layers += f" {settings.hidden_size} {directions} {settings.cell}, a frame every {frame_ms:g} ms"
    return [*rows, ("layers", layers), ("parameters", f"{model.n_parameters:,}")]


def _decoding(folder: Path) -> list[tuple[str, str]]:
    from asr.decoder import load_decoding

    settings = load_decoding(folder)
    if settings is None:
        return []
    beam = settings.beam
    parts = [f"{settings.decoder}, {beam.beam_width} prefixes"]
    parts += [f"{settings.lm} x {beam.lm_weight:g}"] if settings.lm else []
    rescored = zip(settings.rescorers, settings.lm_weights, strict=True)
    parts += [f"rescored by {path} x {weight:g}" for path, weight in rescored]
    return [("decodes by", ", ".join(parts))]


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
    """What `recipes/evaluate.py` has left in the model's folder."""
    results = []
    for path in sorted(folder.glob("*/results.json")):
        try:
            values = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise InputError(f"{path}: is not JSON ({error}); expected results") from None
        if not _is_results(values):
            raise InputError(f"{path}: has no manifest or no rates; expected results")
        results.append(values)
    return results


def _is_results(values: Any) -> bool:
    match values:
        case {"manifest": str(), "systems": [*systems]}:
            rates = {"name", "wer", "wer_low", "wer_high", "cer"}
            return all(isinstance(system, dict) and rates <= system.keys() for system in systems)
    return False


def _shown(symbol: str) -> str:
    return "<space>" if symbol == " " else symbol
