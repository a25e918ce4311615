"""`asr lm`: language models and texts -> perplexities, samples, judgements and pages."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli.options import Device, ReportFormat
from asr.cli.output import print_json, print_lines, print_row
from asr.cli.usage import refuse
from asr.errors import InputError, listed, reported, say
from asr.files import path_of, write_text

if TYPE_CHECKING:
    from asr.lm.protocol import LanguageModel
    from asr.lm.vocabulary import Vocabulary

lm = typer.Typer(
    name="lm",
    no_args_is_help=True,
    help="Measure and inspect language models: recurrent ones (a folder) and n-grams (a folder, an"
    " ARPA file or a KenLM file). Log-probabilities are natural logarithms.",
)


Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        parser=path_of,
        help="A language model's folder, ARPA or KenLM file.",
        show_default=False,
    ),
]
Text = Annotated[
    Path,
    typer.Argument(
        metavar="TEXT",
        parser=path_of,
        help="One sentence per line, or a manifest (.jsonl); may be .gz, .bz2 or .xz; - for stdin.",
    ),
]
STDIN = Path("-")


@lm.command()
def perplexity(
    model: Model,
    text: Text = STDIN,
    format: Annotated[
        ReportFormat, typer.Option(help="A table, or one JSON object.")
    ] = ReportFormat.text,
    device: Annotated[Device, typer.Option(help="Where to run.")] = Device.auto,
) -> None:
    """Perplexity of a model on a text, per word, unit and character.

    The end of each sentence counts as one more word, unit and character. Perplexities per word
    and per character can be compared between models with the same text normalisation, even if
    their units differ. If the text has out-of-vocabulary (OOV) words, there are three columns:
    OOV words count as `<unk>`; they are left out; they are spelled letter by letter. Compare
    models with different vocabularies by the last one.
    """
    with reported("asr lm perplexity"):
        from asr.cli.lm_results import perplexity_lines, perplexity_values
        from asr.lm.bench.perplexity import perplexity as measure

        texts = _texts(text)
        loaded = _load(model, device, texts)
        _check_known(loaded.vocabulary, texts, text)
        found = measure(loaded, texts, str(text))
        if format is ReportFormat.json:
            print_json(perplexity_values(loaded.vocabulary, found))
        else:
            print_lines(perplexity_lines(loaded.vocabulary, found))


@lm.command()
def score(
    model: Model,
    text: Text = STDIN,
    units: Annotated[
        bool, typer.Option("--units", help="Also print each unit, one per line.")
    ] = False,
    format: Annotated[
        ReportFormat,
        typer.Option(
            help="LOG_PROB, number of unknown units and TEXT, with tabs between; or JSON lines,"
            " with all units."
        ),
    ] = ReportFormat.text,
    device: Annotated[Device, typer.Option(help="Where to run.")] = Device.auto,
) -> None:
    """Log-probability of each sentence, including its end, and of each of its units."""
    with reported("asr lm score"):
        from asr.cli.lm_results import sentence_lines, sentence_values

        texts = _texts(text)
        loaded = _load(model, device, texts)
        _check_known(loaded.vocabulary, texts, text)
        for values in sentence_values(loaded, texts):
            if format is ReportFormat.json:
                print_json(values)
                continue
            print_lines(sentence_lines(values, units))


@lm.command()
def sample(
    model: Model,
    prompt: Annotated[
        str, typer.Argument(metavar="PROMPT", help="The beginning of each text.")
    ] = "",
    number: Annotated[int, typer.Option(min=1, help="Number of texts.")] = 1,
    max_units: Annotated[
        int, typer.Option(min=1, help="Maximum length of a text, in units.")
    ] = 200,
    temperature: Annotated[
        float,
        typer.Option(
            help="Below 1, probable units become more probable; 0 always takes the best one."
        ),
    ] = 1.0,
    top_k: Annotated[
        int | None,
        typer.Option(help="Sample only from the K most probable units.", show_default="all"),
    ] = None,
    top_p: Annotated[
        float,
        typer.Option(
            help="Sample only from the most probable units that together have this probability."
        ),
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same texts.")] = 0,
    unknown: Annotated[
        bool,
        typer.Option("--unknown", help="Also sample `<unk>`; by default it is left out."),
    ] = False,
    format: Annotated[
        ReportFormat, typer.Option(help="One text per line, or JSON lines.")
    ] = ReportFormat.text,
) -> None:
    """Sample texts from a model, unit by unit, until the end of the sentence."""
    with reported("asr lm sample"):
        from asr.lm.bench.sampling import SamplingSettings
        from asr.lm.bench.sampling import sample as draw

        try:
            settings = SamplingSettings(temperature, top_k, top_p, unknown)
        except InputError as error:  # it starts with the setting's name
            refuse("asr lm sample", f"--{str(error).replace('_', '-', 1)}")
        _refuse_kenlm(model)
        loaded = _load(model, Device.cpu, [prompt])
        _warn_of_unknown(loaded.vocabulary, prompt)
        begin = loaded.vocabulary.encode(prompt)
        for text in draw(loaded, begin, settings, number, max_units, seed):
            words = loaded.vocabulary.decode((*begin, *text.units))
            if format is ReportFormat.json:
                print_json({"text": words, "log_prob": text.log_prob, "ended": text.ended})
            else:
                print_row(words)


@lm.command()
def agree(
    model: Model,
    pairs: Annotated[
        Path | None,
        typer.Argument(
            metavar="PAIRS",
            parser=path_of,
            help="Lines `GOOD<TAB>BAD` or `GOOD<TAB>BAD<TAB>GROUP`.",
            show_default="English subject-verb agreement",
        ),
    ] = None,
    format: Annotated[
        ReportFormat, typer.Option(help="A table, or one JSON object.")
    ] = ReportFormat.text,
    device: Annotated[Device, typer.Option(help="Where to run.")] = Device.auto,
) -> None:
    """How often a model gives the correct one of two sentences the higher probability.

    The built-in pairs test English subject-verb agreement. They are grouped by the number of words
    between subject and verb, and by how many of these are nouns of the other number (attractors).
    Word frequencies alone get half of each group right. Pairs with out-of-vocabulary (OOV) words
    are counted separately.
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
                f"{pairs or 'the pairs'}: each pair has a word that {model} does not know, such as"
                f" {next(iter(oov))!r}; expected at least one pair of known words"
            )
        if format is ReportFormat.json:
            print_json(agreement_values(results, judgements))
            return
        print_lines(agreement_lines(results))
        if oov:
            say("asr lm agree", f"words that the model does not know: {listed(sorted(oov))}")


@lm.command()
def inspect(
    model: Model,
    text: Text = STDIN,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=path_of,
            help="Write an HTML page that colours the text by the activation of a hidden unit.",
            show_default=False,
        ),
    ] = None,
    best: Annotated[int, typer.Option(min=1, help="Number of units for each property.")] = 10,
    format: Annotated[
        ReportFormat, typer.Option(help="Tables, or JSON lines.")
    ] = ReportFormat.text,
    device: Annotated[Device, typer.Option(help="Where to run.")] = Device.auto,
) -> None:
    """Hidden units of a recurrent model that follow quotes, word boundaries or the position.

    Units are ranked on the first half of the text. The value on the second half is not biased by
    this choice.
    """
    with reported("asr lm inspect"):
        from asr.cli.lm_results import follower_lines, follower_values
        from asr.lm.bench.inspection import MAX_UNITS, followers, properties, read
        from asr.lm.bench.inspection_page import activation_page
        from asr.lm.rnnlm import RNNLM

        if out and out.exists():
            raise InputError(f"{out}: already exists; expected a new file")
        texts = _texts(text)
        loaded = _load(model, device, texts)
        if not isinstance(loaded, RNNLM):
            raise InputError(f"{model}: is an n-gram model; expected a recurrent one's folder")
        _check_known(loaded.vocabulary, texts, text)
        reading = read(loaded, texts, str(text))
        if len(reading.pieces) == MAX_UNITS:
            say("asr lm inspect", f"{text}: only the first {MAX_UNITS:,} units are used")
        found, left_out = properties(reading, loaded.vocabulary)
        notes = [f"left out: {reason}" for reason in left_out]
        for note in notes:
            say("asr lm inspect", note)
        ranked = [(property, followers(reading, property, best)) for property in found]
        if format is ReportFormat.json:
            for values in follower_values(ranked):
                print_json(values)
        else:
            print_lines(follower_lines(ranked))
        if out:
            named = {f"{property.name} ({property.measure})": units for property, units in ranked}
            page = activation_page(f"{model}: {text}", reading, named, notes)
            write_text(out, page, exclusive=True)


def _texts(text: Path) -> list[str]:
    from asr.text.sentences import read_sentences

    return list(read_sentences("/dev/stdin" if text == STDIN else text))


def _load(model: Path, device: Device, texts: Iterable[str]) -> "LanguageModel":
    """Load a model; for a model that can't list its words the texts give the vocabulary."""
    from asr.lm.load import load_language_model
    from asr.recognizer import pick_device
    from asr.text.normalisation import TextSettings, canonical, normalise

    name = str(pick_device(device.value))
    kept = TextSettings(case="keep")
    forms = (form for text in texts for form in (normalise(text, kept), canonical(text)))
    return load_language_model(model, name, (word for form in forms for word in form.split()))


def _refuse_kenlm(model: Path) -> None:
    """Raise InputError for a KenLM binary file: it can't list its words, so none can be sampled."""
    from asr.lm.load import KENLM_MAGIC

    if model.is_file():
        with model.open("rb") as file:
            if file.read(len(KENLM_MAGIC)) == KENLM_MAGIC:
                raise InputError(
                    f"{model}: is a KenLM binary file, which can't list its words; expected the"
                    " ARPA file it was made from"
                )


def _check_known(vocabulary: "Vocabulary", texts: Iterable[str], place: Path) -> None:
    """Raise InputError if a model knows no unit of the texts, or the texts have no units."""
    from asr.lm.vocabulary import UNK
    from asr.text.normalisation import in_case

    def known(texts: Iterable[str]) -> bool:
        return any(unit != UNK for text in texts for unit in vocabulary.encode(text))

    if known(texts):
        return
    hint = ""
    if known(in_case(text, case) for text in texts for case in ("lower", "upper")):
        hint = "; the model is case-sensitive and knows some of them in the other case"
    raise InputError(f"{place}: has no word that the model knows; expected at least one{hint}")


def _warn_of_unknown(vocabulary: "Vocabulary", prompt: str) -> None:
    from asr.lm.vocabulary import UNK, UNK_SYMBOL

    unknown = [word for word in prompt.split() if UNK in vocabulary.encode(word)]
    if unknown:
        words = listed(unknown)
        say("asr lm sample", f"the model does not know {words} and reads {UNK_SYMBOL} there")
