"""The settings of a corpus -> prepared data -> trained models -> results, stage by stage."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages import run_stage

from asr.config import read_yaml
from asr.errors import InputError
from asr.folder import read_description

KINDS = ("ctc", "hmm", "hybrid", "classifier")
"""Kinds of acoustic models: settings belong to the one that their file name begins with, or ctc."""

SEEDLESS = ("hmm",)
"""Kinds whose training has no random numbers."""

INPUT_MODELS = ("start", "hmm")
"""Settings under `data` that name a model to start training from, or to align the data with."""

DECODING = ("lexicon", "beam_width", "lm", "rescorer")
"""Settings of a decode.yaml; a compare.yaml may have them too."""

Command = list[str | Path]
"""A script and its options, or some options."""


@dataclass(frozen=True)
class Corpus:
    """The folders of a corpus.

    Args:
        root: the repository.
        name: name of the corpus's folders in `data` and `conf`.
        out: folder of its models.
        data_root: folder with the original corpora; None for $ASR_DATA.
    """

    root: Path
    name: str
    out: Path
    data_root: Path | None

    @property
    def data(self) -> Path:
        """Folder of the manifests, the lexicon and the script that makes them."""
        return self.root / "data" / self.name

    @property
    def conf(self) -> Path:
        """Folder of the settings."""
        return self.root / "conf" / self.name

    def decode(self, conf: Path) -> Path | None:
        """The file that names the language models for the settings in `conf`, if it exists.

        Models of other tokens may need other language models: for ctc-jamo.yaml, it is
        decode-jamo.yaml if that exists, else decode.yaml.
        """
        _, dash, name = conf.stem.partition("-")
        paths = [self.conf / f"decode{end}.yaml" for end in (dash + name, "")]
        return next((path for path in paths if path.exists()), None)

    def parts(self, conf: Path) -> list[Path]:
        """The manifests of train, dev and test (words or phones) for the settings in `conf`."""
        name = Path(_data(conf).get("train", "train.jsonl")).name
        return [self.data / name.replace("train", part) for part in ("train", "dev", "test")]

    def lexicon(self, conf: Path) -> list[Path]:
        """The dictionary that the settings in `conf` name, if it is a file of the corpus."""
        lexicon = _data(conf).get("lexicon", "")
        return [self.data / Path(lexicon).name] if Path(lexicon).suffix else []


def run(
    corpus: Corpus,
    conf: Path,
    seeds: int,
    settings: Sequence[str] = (),
    decode: Path | None = None,
) -> list[Path]:
    """Prepare the data, train acoustic models and evaluate them.

    Args:
        corpus: its folders.
        conf: settings of the acoustic model.
        seeds: number of trainings, from seed 1 on; kinds without seeds are trained once.
        settings: changes of the settings, as key=value.
        decode: file that names the language models for decoding; None for greedy search.

    Returns:
        results: for each model, the folder of its results.json, in the model's folder.
    """
    _, dev, test = parts = corpus.parts(conf)
    prepare(corpus.data, corpus.data_root, [*corpus.lexicon(conf), *parts])
    options: Command = []
    files: list[Path] = []
    if decode is not None:
        options, files = decoding_options(corpus, decode)
    results = []
    for model in train(corpus, conf, seeds, settings):
        evaluate: Command = [
            corpus.root / "recipes/evaluate.py",
            "--model",
            model,
            "--manifest",
            test,
        ]
        evaluate += [*options, "--tune", dev] if options else []
        inputs = [model / "model.json", model / "weights.safetensors", test, dev, *files]
        run_stage(evaluate, inputs, outputs=[model / test.stem / "results.json"])
        results.append(model / test.stem)
    return results


def train(corpus: Corpus, conf: Path, seeds: int, settings: Sequence[str] = ()) -> Iterator[Path]:
    """Train acoustic models one after the other, and yield their folders; see `run`.

    The models that their settings name under `data` are trained first.
    """
    train_part, dev, _ = corpus.parts(conf)
    inputs = [conf, *corpus.lexicon(conf), train_part, dev]
    given = data_options(corpus, conf)
    for name in INPUT_MODELS:
        chosen = [s.partition("=")[2] for s in settings if s.startswith(f"data.{name}=")]
        if chosen:
            model = Path(chosen[-1])
        elif other := _data(conf).get(name):
            (model,) = train(corpus, corpus.conf / f"{Path(other).name}.yaml", seeds=1)
            given.append(f"--data.{name}={model}")
        else:
            continue
        files = (model / "model.json", model / "weights.safetensors")
        inputs += [path for path in files if path.exists()]  # the script refuses a missing model
    given += [f"--{setting}" for setting in settings]
    kind = kind_of(conf)
    for seed in [None] if kind in SEEDLESS else range(1, seeds + 1):
        of_seed = f"-seed{seed}" if seed and seeds > 1 else ""
        model = corpus.out / (conf.stem + of_seed)
        command: Command = [
            corpus.root / f"recipes/train_{kind}.py",
            "--config",
            conf,
            "--out",
            model,
        ]
        command += ["--seed", str(seed)] if seed else []
        run_stage([*command, *given], inputs, outputs=[model / "model.json"])
        yield model


def data_options(corpus: Corpus, conf: Path) -> list[str]:
    """Options that name the manifests and the lexicon of a training, wherever it is started."""
    train_part, dev, _ = corpus.parts(conf)
    lexicon = [f"--data.lexicon={path}" for path in corpus.lexicon(conf)]
    return [f"--data.train={train_part}", f"--data.dev={dev}", *lexicon]


def kind_of(conf: Path) -> str:
    """The kind of acoustic model of a file of settings, one of `KINDS`."""
    first = conf.stem.partition("-")[0]
    return first if first in KINDS else KINDS[0]


def minutes_of(corpus: Corpus, conf: Path, model: Path) -> float:
    """Minutes of training a model, including the models of `INPUT_MODELS`."""
    minutes = read_description(model)["trained_on"]["minutes"]
    for name in INPUT_MODELS:
        if other := _data(conf).get(name):
            before = corpus.out / Path(other).name
            minutes += minutes_of(corpus, corpus.conf / f"{before.name}.yaml", before)
    return minutes


def prepare(
    data: Path, data_root: Path | None, outputs: Sequence[Path], options: Sequence[str] = ()
) -> None:
    """Make the manifests or texts of a corpus with its prepare.py.

    Args:
        data: folder of the script and of its outputs.
        data_root: folder with the original corpora; None for $ASR_DATA.
        outputs: files that the script writes.
        options: further options of the script.
    """
    command: Command = [data / "prepare.py", "--out", data, *options]
    command += ["--data-root", data_root] if data_root else []
    run_stage(
        command,
        inputs=[*data.glob("*.py"), *data.glob("*.tsv"), *data.glob("*_speakers.txt")],
        outputs=outputs,
    )


def decoding_options(corpus: Corpus, decode: Path) -> tuple[Command, list[Path]]:
    """The options of recipes/evaluate.py for a decode.yaml; its language models are trained.

    Args:
        corpus: its folders.
        decode: decode.yaml or compare.yaml.

    Returns:
        options: for recipes/evaluate.py.
        files: the lexicon and the language models that the options name.

    Raises:
        InputError: the file has an unknown setting, or no list where one is expected.
    """
    values = read_yaml(decode)
    for name in values.keys() - {*DECODING, "systems", "of_phones"}:
        raise InputError(f"{decode}: unknown setting {name}; expected one of {', '.join(DECODING)}")
    options: Command = ["--decoder", "beam"]
    options += ["--beam-width", str(values["beam_width"])] if values.get("beam_width") else []
    files = []
    if values.get("lexicon"):
        files.append(corpus.root / values["lexicon"])
        options += ["--lexicon", files[0]]
    for option in ("lm", "rescorer"):
        names = values.get(option, [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(f"{decode}: {option} is {names!r}; expected a list of names")
        for name in names:
            shared = "/" in name  # novels/lm has its settings in conf/novels for every corpus
            conf = (corpus.conf.parent if shared else corpus.conf) / f"{name}.yaml"
            model = (corpus.out.parent if shared else corpus.out) / name
            if model / "model.json" not in files:
                train_language_model(corpus, conf, model)
                files.append(model / "model.json")
            options += [f"--{option}", model]
    return options, files


def train_language_model(corpus: Corpus, conf: Path, model: Path) -> None:
    """Train a language model; texts of another corpus are prepared first.

    Args:
        corpus: its folders.
        conf: settings of the language model.
        model: folder of the model.

    Raises:
        InputError: the settings have no `data.train`.
    """
    data = _data(conf)
    if "train" not in data:
        raise InputError(f"{conf}: has no data.train; expected the texts to train on")
    texts = {part: corpus.root / data[part] for part in ("train", "dev") if part in data}
    mixture = read_yaml(conf).get("mixture", {}).get("texts", [])
    more = [corpus.root / path for path in mixture]
    if (folder := texts["train"].parent).name != corpus.name:
        try:
            prepare(folder, corpus.data_root, list(texts.values()))
        except SystemExit:
            print(f"{conf} takes these texts; --greedy does without", file=sys.stderr)
            raise
    script = "train_ngram.py" if conf.stem.startswith("ngram") else "train_lm.py"
    command: Command = [corpus.root / "recipes" / script, "--config", conf, "--out", model]
    command += [f"--data.{part}={path}" for part, path in texts.items()]
    command += [f"--mixture.texts={json.dumps(list(map(str, more)))}"] if more else []
    run_stage(command, inputs=[conf, *texts.values(), *more], outputs=[model / "model.json"])


def train_punctuation(corpus: Corpus, name: str) -> Path:
    """Train a model of punctuation, after preparing its texts.

    Args:
        corpus: gives the folders of all.
        name: of its settings in `conf` and of its folder beside the corpus's, such as
            novels/punctuation.

    Returns:
        model: its folder.
    """
    conf, model = corpus.conf.parent / f"{name}.yaml", corpus.out.parent / name
    texts = {part: corpus.root / _data(conf)[part] for part in ("train", "dev")}
    prepare(texts["train"].parent, corpus.data_root, list(texts.values()), ["--punctuated"])
    command: Command = [corpus.root / "recipes/train_punctuation.py", "--config", conf]
    command += ["--out", model, *(f"--data.{part}={path}" for part, path in texts.items())]
    run_stage(command, inputs=[conf, *texts.values()], outputs=[model / "model.json"])
    return model


def _data(conf: Path) -> dict[str, Any]:
    """The values under `data` in a file of settings."""
    found = read_yaml(conf).get("data", {})
    if not isinstance(found, dict):
        raise InputError(f"{conf}: data is {found!r}; expected settings by name")
    return found
