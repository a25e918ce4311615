"""`asr info`: a model's folder -> what it is."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from asr.errors import InputError, reported

if TYPE_CHECKING:
    from asr.checkpoint import Model
    from asr.ngram import NgramModel
    from asr.rnnlm import RNNLM


def info(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A trained model's folder.", show_default=False)
    ],
) -> None:
    """What a model is: tokens or units, layers, parameters, what it was trained on, results."""
    with reported("asr info"):
        from asr.folder import read_description

        description = read_description(model)
        if "kind" in description:
            rows = _language_model(model, description)
        else:
            from asr.checkpoint import load_model

            rows = _rows(load_model(model)) + _measured(_results(model))
        for name, value in rows:
            typer.echo(f"{name:<12}{value}")


def _language_model(folder: Path, description: dict[str, Any]) -> list[tuple[str, str]]:
    from asr.language_model import load_language_model
    from asr.ngram import NgramModel

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
    features, acoustic = model.features.settings, model.acoustic.settings
    symbols = model.tokenizer.symbols
    directions = "bidirectional" if acoustic.bidirectional else "forward"
    bands = features.n_mels if features.kind == "log_mel" else features.n_mfcc
    n_parameters = sum(parameter.numel() for parameter in model.acoustic.parameters())
    convolutions = f"2 convolutions of {acoustic.conv_channels} channels, "
    return [
        ("tokens", f"{len(symbols)} ({model.tokenizer.kind}): {' '.join(map(_shown, symbols))}"),
        (
            "features",
            f"{bands} {features.kind}, {features.n_deltas} deltas, {features.window_ms:g} ms every"
            f" {features.hop_ms:g} ms at {features.sample_rate} Hz,"
            f" normalised: {features.normalisation}",
        ),
        (
            "layers",
            f"{convolutions if acoustic.conv_channels else ''}"
            f"{acoustic.n_layers} x {acoustic.hidden_size} {directions} {acoustic.cell},"
            f" a frame every {features.hop_ms * acoustic.time_reduction:g} ms",
        ),
        ("parameters", f"{n_parameters:,}"),
        ("trained on", _listed(model.trained_on)),
    ]


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
