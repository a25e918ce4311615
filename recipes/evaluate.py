"""Error rates of a model on a manifest, for each way of decoding.

python recipes/evaluate.py --model exp/an4/ctc --manifest data/an4/test.jsonl
  [--decoder beam [--lm DIR|FILE ...] [--rescorer DIR|FILE ...] [--tune data/an4/dev.jsonl]]
  [--stream "chunk_s=1.0,right_s=0.5;chunk_s=0.5,right_s=0.3"]
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from asr.corpus.manifest import check_audio, in_both, read_manifest
from asr.corpus.recordings import check_durations
from asr.decoder import (
    DECODING,
    UNTUNED_OF,
    DecoderName,
    DecoderSettings,
    default_decoder,
    load_decoding,
    refuse_greedy,
    save_decoding,
    search_of,
)
from asr.errors import InputError, printable, reported
from asr.evaluation.comparison import Comparison, System
from asr.evaluation.log_probs import Recognised, recognise_manifest
from asr.evaluation.picture import draw_latency, draw_reliability
from asr.evaluation.result_files import refuse_others, write_results, write_texts
from asr.evaluation.results import table
from asr.evaluation.streams import add_stream, parse_streams
from asr.evaluation.text_case import case_fault
from asr.files import path_of
from asr.installed import model_folder
from asr.model import Model, load_model
from asr.recognizer import Recognizer, pick_device
from asr.streaming.network import ChunkedNetwork
from asr.streaming.partial import refuse_flashlight
from asr.streaming.settings import StreamSettings


def main() -> None:
    parser = make_parser()
    options = parse(parser)
    options.model = own_folder(parser, options)
    recognizer = Recognizer(load_model(options.model, pick_device(options.device)))
    model = recognizer.model
    default = default_decoder(model.tokenizer)
    decoder = options.decoder or default
    refuse_unused(parser, decoder, options)
    tuned = tuned_settings(options)
    settings_of_streams = parsed_streams(
        parser, model, tuned.decoder if tuned else decoder, options
    )
    try:
        search_of(decoder, model.topology)  # before all audio is read
    except InputError as error:
        parser.error(f"--{error}")
    out = options.out or options.model / options.manifest.stem
    refuse_others(out, options.manifest, read_manifest(options.manifest))
    files = f"{out}/references.txt and {out}/hypotheses.*.txt"
    remedy = f"; to ignore case, use `asr score --ignore-case` with {files}"
    test = _recognised(recognizer, options.manifest, remedy)
    dev = _recognised(recognizer, options.tune)
    if dev and not any(text.split() for text in dev.references):
        raise InputError(f"{options.tune}: has no word; expected some to tune on")
    if dev and (both := in_both(dev.utterances, test.utterances)):
        _say(
            f"{options.tune}: {len(both)} of {len(dev.utterances)} utterances are in the test data"
            " too; weights are tuned on them, so error rates are too low"
        )

    comparison = Comparison(recognizer, test, dev, out)
    best = decode(comparison, decoder, tuned, options)
    streams = [add_stream(comparison, best, settings).result for settings in settings_of_streams]
    if streams:
        draw_latency(out / f"latency.{best.result.name}.png", best.result, streams)
    if (out / "results.json").exists():
        _say(f"{out}: had results; those of the same ways of decoding are replaced")
    for system in comparison.systems:
        name = system.result.name
        write_texts(out, test.utterances, system.hypotheses, name)
        if len(system.right):
            picture = out / f"reliability.{name}.png"
            draw_reliability(picture, name, system.confidences, system.right)
    results = [system.result for system in comparison.systems]
    write_results(out, options.model, options.manifest, results, recognizer.device)
    print("\n".join(map(printable, [*table(results), str(out)])))


def own_folder(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Path:
    """The folder of --model; exit with status 2 if results would go to an installed model."""
    folder = model_folder(options.model)
    if folder != options.model and (options.out is None or options.tune):
        parser.error(
            f"--model is the installed model {options.model}; expected --out for the results, and"
            " no --tune, which would change the model"
        )
    return folder


def tuned_settings(options: argparse.Namespace) -> DecoderSettings | None:
    """How the model was tuned to decode, if the options ask for no way of decoding."""
    is_plain = not (options.decoder or _search_options(options))
    return load_decoding(options.model) if is_plain else None


def parsed_streams(
    parser: argparse.ArgumentParser, model: Model, decoder: DecoderName, options: argparse.Namespace
) -> list[StreamSettings]:
    """The settings of --stream; exit with status 2 if model or decoder can't use them."""
    if not options.stream:
        return []
    ChunkedNetwork(model.acoustic)  # refuses a model that can't stream with any settings
    try:
        refuse_flashlight(decoder)
    except InputError as error:
        parser.error(f"--stream: {error}")
    try:
        return parse_streams(options.stream, model)
    except InputError as error:
        parser.error(f"--stream is {error}")


def decode(
    comparison: Comparison,
    decoder: DecoderName,
    tuned: DecoderSettings | None,
    options: argparse.Namespace,
) -> System:
    """Decode in all ways that the options ask for; without any, also as the model was tuned to.

    Returns:
        best: as the model was tuned to; else with rescoring, a language model, or what there is.
    """
    model = comparison.recognizer.model
    if "greedy" in (default_decoder(model.tokenizer), decoder):
        found = comparison.search("greedy", DecoderSettings())
    if decoder != "greedy":
        untuned = UNTUNED_OF[model.kind]
        width = untuned.beam_width if options.beam_width is None else options.beam_width
        beam = replace(untuned, beam_width=width, n_best=width)
        precision = options.lm_precision
        settings = DecoderSettings(decoder, beam, lexicon=options.lexicon, lm_precision=precision)
        found = comparison.all_ways(settings, options.lm, options.rescorer)
        if options.tune:
            save_decoding(options.model, found.settings)
            place = options.model / DECODING
            _say(f"{place}: the model now decodes with {found.result.name}")
    if tuned:
        found = comparison.decode("tuned", tuned)
    return found


def make_parser() -> argparse.ArgumentParser:
    usage = "\n".join(__doc__.splitlines()[2:]).removeprefix("python ")
    parser = argparse.ArgumentParser(prog="evaluate", usage=usage, allow_abbrev=False)
    parser.add_argument("--model", type=path_of, required=True, help="a trained model's folder")
    parser.add_argument(
        "--manifest", type=path_of, required=True, help="utterances with their texts"
    )
    parser.add_argument(
        "--decoder",
        choices=["greedy", "beam", "flashlight"],
        help="search algorithm; default greedy, for phones and HMMs beam",
    )
    parser.add_argument("--lm", action="append", default=[], help="language model for the search")
    parser.add_argument(
        "--rescorer", action="append", default=[], help="language model for rescoring n-best lists"
    )
    parser.add_argument(
        "--lexicon", default="", help="words of the search; default: the model's, else the LM's"
    )
    parser.add_argument(
        "--beam-width", type=int, help="number of prefixes kept; default 50, for HMMs 200"
    )
    parser.add_argument(
        "--lm-precision",
        choices=["float32", "bfloat16"],
        default="float32",
        help="number format of recurrent language models; default float32",
    )
    parser.add_argument(
        "--tune",
        type=path_of,
        help="development manifest: tune weights and calibrate confidences on it, and save them",
    )
    parser.add_argument(
        "--stream",
        action="append",
        default=[],
        help="recognise each utterance as a stream too, with these settings of StreamSettings;"
        " several are separated by semicolons; what is left out is as in Recognizer.stream",
    )
    parser.add_argument(
        "--out", type=path_of, help="folder of the results; default: MODEL/NAME-OF-MANIFEST"
    )
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="default auto"
    )
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    options = parser.parse_args()
    if "" in (*options.lm, *options.rescorer):
        parser.error("--lm or --rescorer is ''; expected a path")
    if options.rescorer and not options.tune:
        parser.error("--rescorer needs --tune: its weight is found on development data")
    if options.beam_width is not None and options.beam_width < 1:
        parser.error(f"--beam-width is {options.beam_width}; expected 1 or more")
    stems = [Path(lm).stem for lm in options.lm]
    if twice := [stem for stem in stems if stems.count(stem) > 1]:
        parser.error(f"--lm: two are called {twice[0]}, and their results would be, too")
    return options


def refuse_unused(
    parser: argparse.ArgumentParser, decoder: str, options: argparse.Namespace
) -> None:
    """Exit with status 2 if an option is given that the decoder does not use."""
    try:
        refuse_greedy(decoder, _search_options(options))
    except InputError as error:
        parser.error(str(error))


def _search_options(options: argparse.Namespace) -> dict[str, Any]:
    """The options of a search that are given, by name."""
    names = ("lm", "rescorer", "lexicon", "tune", "beam_width")
    given = {f"--{name.replace('_', '-')}": getattr(options, name) for name in names}
    return {name: value for name, value in given.items() if value}


def _recognised(
    recognizer: Recognizer, manifest: Path | None, remedy: str = ""
) -> Recognised | None:
    """The model's output; warns on stderr if the model writes another case than the texts."""
    if manifest is None:
        return None
    utterances = read_manifest(manifest)
    check_audio(manifest, utterances)
    check_durations(manifest, utterances)
    if fault := case_fault([u.text for u in utterances], recognizer.model.tokenizer):
        _say(f"{manifest}: {fault}{remedy}")
    return recognise_manifest(recognizer, utterances)


def _say(line: str) -> None:
    print(f"evaluate: {printable(line)}", file=sys.stderr)


if __name__ == "__main__":
    with reported("evaluate"):
        main()
