"""`asr lm`: language models and texts -> perplexities, texts, judgements and pages."""

import json
import sys
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asr.errors import InputError, reported

if TYPE_CHECKING:
    from asr.lm.protocol import LanguageModel
    from asr.lm.vocabulary import Vocabulary

lm = typer.Typer(
    name="lm",
    no_args_is_help=True,
    help="The bench for language models: recurrent ones (a folder) and n-grams (a folder, an ARPA"
    " or a KenLM file). Log-probabilities are natural logarithms.",
)


class Format(StrEnum):
    """How results are printed."""

    text = "text"
    json = "json"


class Device(StrEnum):
    """Where a recurrent model runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL", help="A language model's folder, ARPA or KenLM file.", show_default=False
    ),
]
Text = Annotated[
    Path,
    typer.Argument(
        metavar="TEXT",
        help="A sentence a line, or a manifest (.jsonl); may be .gz or .xz. - is standard input.",
    ),
]
STDIN = Path("-")


@lm.command()
def perplexity(
    model: Model,
    text: Text = STDIN,
    format: Annotated[Format, typer.Option(help="For people, or one JSON object.")] = Format.text,
    device: Annotated[Device, typer.Option(help="Where to run.")] = Device.auto,
) -> None:
    """How well a model foresees a text: perplexity per word, unit and character.

    Each sentence's end counts as one more word, unit and character. Figures per word and per
    character can be compared between models that normalise alike, whatever their units. With
    out-of-vocabulary (OOV) words there are three columns: as `<unk>`; left out; spelled letter by
    letter, which is the one to compare where vocabularies differ.
    """
    with reported("asr lm perplexity"):
        from asr.cli.lm_results import perplexity_lines, perplexity_values
        from asr.lm.bench.perplexity import perplexity as measure

        texts = _texts(text)
        loaded = _load(model, device, texts)
        _check_known(loaded.vocabulary, texts, text)
        found = measure(loaded, texts, str(text))
        if format is Format.json:
            _print_json(perplexity_values(loaded.vocabulary, found))
        else:
            print("\n".join(perplexity_lines(loaded.vocabulary, found)))


@lm.command()
def score(
    model: Model,
    text: Text = STDIN,
    units: Annotated[
        bool, typer.Option("--units", help="Below each sentence its units, a line each.")
    ] = False,
    format: Annotated[
        Format,
        typer.Option(help="LOG_PROB, tab, unknown units, tab, TEXT; or JSON lines, with units."),
    ] = Format.text,
    device: Annotated[Device, typer.Option(help="Where to run.")] = Device.auto,
) -> None:
    """The log-probability of each sentence, its end included, and of each of its units."""
    with reported("asr lm score"):
        from asr.cli.lm_results import sentence_lines, sentence_values

        texts = _texts(text)
        loaded = _load(model, device, texts)
        _check_known(loaded.vocabulary, texts, text)
        for values in sentence_values(loaded, texts):
            if format is Format.json:
                _print_json(values)
                continue
            print("\n".join(sentence_lines(values, units)))


@lm.command()
def sample(
    model: Model,
    prompt: Annotated[
        str, typer.Argument(metavar="PROMPT", help="What each text begins with.")
    ] = "",
    number: Annotated[int, typer.Option(min=1, help="How many texts.")] = 1,
    max_units: Annotated[int, typer.Option(min=1, help="Cut a text after so many units.")] = 200,
    temperature: Annotated[
        float, typer.Option(help="Below 1 is more cautious; 0 takes the most probable unit.")
    ] = 1.0,
    top_k: Annotated[
        int | None, typer.Option(help="Only the K most probable units.", show_default="all")
    ] = None,
    top_p: Annotated[
        float, typer.Option(help="Only the most probable units that have this probability.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed, the same texts.")] = 0,
    unknown: Annotated[
        bool,
        typer.Option("--unknown", help="Draw `<unk>` too; else the others share its probability."),
    ] = False,
    format: Annotated[Format, typer.Option(help="A text a line, or JSON lines.")] = Format.text,
) -> None:
    """Texts that a model draws, unit by unit, until it ends the sentence."""
    from asr.lm.bench.sampling import SamplingSettings
    from asr.lm.bench.sampling import sample as draw

    try:
        settings = SamplingSettings(temperature, top_k, top_p, unknown)
    except InputError as error:
        raise typer.BadParameter(str(error)) from None
    with reported("asr lm sample"):
        _refuse_kenlm(model)
        loaded = _load(model, Device.cpu, [prompt])
        _warn_of_unknown(loaded.vocabulary, prompt)
        begin = loaded.vocabulary.encode(prompt)
        for text in draw(loaded, begin, settings, number, max_units, seed):
            words = loaded.vocabulary.decode((*begin, *text.units))
            if format is Format.json:
                _print_json({"text": words, "log_prob": text.log_prob, "ended": text.ended})
            else:
                print(words)


@lm.command()
def agree(
    model: Model,
    pairs: Annotated[
        Path | None,
        typer.Argument(
            metavar="PAIRS",
            help="Lines of good, tab, bad, and perhaps tab, group.",
            show_default="English verbs near and far from their subjects",
        ),
    ] = None,
    format: Annotated[Format, typer.Option(help="For people, or one JSON object.")] = Format.text,
    device: Annotated[Device, typer.Option(help="Where to run.")] = Device.auto,
) -> None:
    """How often a model finds the better of two sentences more probable, by groups.

    The built-in pairs are groups by the words between subject and verb, and by the nouns of the
    other number among them (attractors); word frequencies alone are right in half of each. Pairs
    with a word that the model does not know are counted apart.
    """
    with reported("asr lm agree"):
        from asr.cli.lm_results import agreement_lines, agreement_values
        from asr.lm.bench.agreement import by_group, judge
        from asr.lm.bench.minimal_pairs import read_minimal_pairs, subject_verb_pairs

        judged = read_minimal_pairs(pairs) if pairs else subject_verb_pairs()
        loaded = _load(model, device, [text for pair in judged for text in (pair.good, pair.bad)])
        judgements = judge(loaded, judged)
        results = by_group(judgements)
        oov = Counter(word for judgement in judgements for word in judgement.oov)
        if not results[0].pairs:
            raise InputError(
                f"{pairs or 'the pairs'}: each has a word that {model} does not know, such as"
                f" {next(iter(oov))!r}; expected one of known words"
            )
        if format is Format.json:
            _print_json(agreement_values(results, judgements))
            return
        print("\n".join(agreement_lines(results)))
        if oov:
            _say("asr lm agree", f"words that the model does not know: {', '.join(sorted(oov))}")


@lm.command()
def inspect(
    model: Model,
    text: Text = STDIN,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a page of HTML that shows the text in the colours of any hidden unit.",
            show_default=False,
        ),
    ] = None,
    best: Annotated[int, typer.Option(min=1, help="How many units for each property.")] = 10,
    format: Annotated[Format, typer.Option(help="For people, or JSON lines.")] = Format.text,
    device: Annotated[Device, typer.Option(help="Where to run.")] = Device.auto,
) -> None:
    """The hidden units of a recurrent model that follow quotes, word borders or the position best.

    Units are ranked by the first half of the text; the figure of the second half, where nothing
    was chosen, is the one to believe.
    """
    with reported("asr lm inspect"):
        from asr.cli.lm_results import follower_lines, follower_values
        from asr.lm.bench.inspection import MAX_UNITS, followers, properties, read
        from asr.lm.bench.inspection_page import activation_page
        from asr.lm.rnnlm import RNNLM

        if out and out.exists():
            raise InputError(f"{out}: is there already; expected a new file")
        texts = _texts(text)
        loaded = _load(model, device, texts)
        if not isinstance(loaded, RNNLM):
            raise InputError(f"{model}: is an n-gram model; expected a recurrent one's folder")
        _check_known(loaded.vocabulary, texts, text)
        reading = read(loaded, texts, str(text))
        if len(reading.pieces) == MAX_UNITS:
            _say("asr lm inspect", f"{text}: only the first {MAX_UNITS:,} units are read")
        found, left_out = properties(reading, loaded.vocabulary)
        notes = [f"left out: {reason}" for reason in left_out]
        for note in notes:
            _say("asr lm inspect", note)
        ranked = [(property, followers(reading, property, best)) for property in found]
        if format is Format.json:
            for values in follower_values(ranked):
                _print_json(values)
        else:
            for line in follower_lines(ranked):
                print(line)
        if out:
            named = {f"{property.name} ({property.measure})": units for property, units in ranked}
            page = activation_page(f"{model}: {text}", reading, named, notes)
            out.write_text(page, "utf-8")


def _texts(text: Path) -> list[str]:
    from asr.text.sentences import read_sentences

    return list(read_sentences("/dev/stdin" if text == STDIN else text))


def _load(model: Path, device: Device, texts: Iterable[str]) -> "LanguageModel":
    """The model; one that can't list its words knows those of the texts."""
    import torch

    from asr.lm.load import load_language_model
    from asr.text.normalisation import TextSettings, canonical, normalise

    name = device.value
    if device is Device.auto:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    elif device is Device.cuda and not torch.cuda.is_available():
        raise InputError("device is 'cuda'; this machine has no GPU that torch can use")
    kept = TextSettings(case="keep")
    forms = (form for text in texts for form in (normalise(text, kept), canonical(text)))
    return load_language_model(model, name, (word for form in forms for word in form.split()))


def _refuse_kenlm(model: Path) -> None:
    """Raise InputError for KenLM's binary files: what can't list its words can't draw them."""
    from asr.lm.load import KENLM_MAGIC

    if model.is_file():
        with model.open("rb") as file:
            if file.read(len(KENLM_MAGIC)) == KENLM_MAGIC:
                raise InputError(f"{model}: can't list its words; expected the ARPA it was made of")


def _check_known(vocabulary: "Vocabulary", texts: Iterable[str], place: Path) -> None:
    """Raise InputError where a model knows no unit of the texts; of no units at all, too."""
    from asr.lm.vocabulary import UNK
    from asr.text.normalisation import in_case

    def known(texts: Iterable[str]) -> bool:
        return any(unit != UNK for text in texts for unit in vocabulary.encode(text))

    if known(texts):
        return
    hint = ""
    if known(in_case(text, case) for text in texts for case in ("lower", "upper")):
        hint = " in the same case: it has some in small letters or capitals, and tells these apart"
    raise InputError(f"{place}: has no word that the model knows; expected at least one{hint}")


def _warn_of_unknown(vocabulary: "Vocabulary", prompt: str) -> None:
    from asr.lm.vocabulary import UNK, UNK_SYMBOL

    unknown = [word for word in prompt.split() if UNK in vocabulary.encode(word)]
    if unknown:
        words = ", ".join(unknown)
        _say("asr lm sample", f"the model does not know {words} and reads {UNK_SYMBOL} there")


def _print_json(values: Any) -> None:
    print(json.dumps(values, ensure_ascii=False, allow_nan=False))


def _say(program: str, line: str) -> None:
    print(f"{program}: {line}", file=sys.stderr)
