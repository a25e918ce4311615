"""A corpus' settings -> prepared data -> trained models -> results, each a stage of its own."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages import run_stage

from asr.config import read_yaml
from asr.errors import InputError
from asr.folder import read_description

KINDS = ("ctc", "hmm", "hybrid")
"""Of acoustic models; settings are of the kind that their file's name begins with, or of the first.
"""

SEEDLESS = ("hmm",)
"""Kinds that nothing is drawn for."""

OTHERS = ("start", "hmm")
"""Settings of data that name a model which this one begins with, or learns from."""

WAYS = ("lexicon", "beam_width", "lm", "rescorer")
"""What a file may say of decoding; one of a comparison says besides what is compared."""

Command = list[str | Path]
"""A script and its options, or a part of them."""


@dataclass(frozen=True)
class Corpus:
    """Where things of a corpus are.

    Args:
        root: the repository.
        name: of its folders there.
        out: of its models.
        data_root: where corpora lie; None for $ASR_DATA.
    """

    root: Path
    name: str
    out: Path
    data_root: Path | None

    @property
    def data(self) -> Path:
        """Manifests, a lexicon, and the script that makes them."""
        return self.root / "data" / self.name

    @property
    def conf(self) -> Path:
        """Settings."""
        return self.root / "conf" / self.name

    @property
    def decode(self) -> Path | None:
        """What names the language models of this corpus, if there are any."""
        path = self.conf / "decode.yaml"
        return path if path.exists() else None

    def parts(self, conf: Path) -> list[Path]:
        """The manifests of train, dev and test that settings are for: of words, or of phones."""
        name = Path(_data(conf).get("train", "train.jsonl")).name
        return [self.data / name.replace("train", part) for part in ("train", "dev", "test")]

    def lexicon(self, conf: Path) -> list[Path]:
        """The dictionary that settings name, where it is a file of the corpus."""
        lexicon = _data(conf).get("lexicon", "")
        return [self.data / Path(lexicon).name] if Path(lexicon).suffix else []


def run(
    corpus: Corpus,
    conf: Path,
    seeds: int,
    settings: Sequence[str] = (),
    decode: Path | None = None,
) -> list[Path]:
    """Prepare, train and evaluate.

    Args:
        corpus: where things are.
        conf: settings of the acoustic model.
        seeds: trainings, from seed 1 on; one of a kind that has none.
        settings: changes to them, key=value.
        decode: what names the language models to decode with; None for none.

    Returns:
        results: the folders of results.json, one for each model, in the models' folders.
    """
    _, dev, test = parts = corpus.parts(conf)
    prepare(corpus.data, corpus.data_root, [*corpus.lexicon(conf), *parts])
    ways: Command = []
    files: list[Path] = []
    if decode is not None:
        ways, files = decoding_options(corpus, decode)
    results = []
    for model in train(corpus, conf, seeds, settings):
        evaluate: Command = [
            corpus.root / "recipes/evaluate.py",
            "--model",
            model,
            "--manifest",
            test,
        ]
        evaluate += [*ways, "--tune", dev] if ways else []
        inputs = [model / "model.json", model / "weights.safetensors", test, dev, *files]
        run_stage(evaluate, inputs, outputs=[model / test.stem / "results.json"])
        results.append(model / test.stem)
    return results


def train(corpus: Corpus, conf: Path, seeds: int, settings: Sequence[str] = ()) -> Iterator[Path]:
    """The folders of acoustic models, one trained after the other as settings say; see `run`."""
    train_part, dev, _ = corpus.parts(conf)
    inputs = [conf, *corpus.lexicon(conf), train_part, dev]
    given = [f"--data.train={train_part}", f"--data.dev={dev}"]
    given += [f"--data.lexicon={path}" for path in corpus.lexicon(conf)]
    for name in OTHERS:
        chosen = [s.partition("=")[2] for s in settings if s.startswith(f"data.{name}=")]
        if chosen:
            model = Path(chosen[-1])
        elif other := _data(conf).get(name):
            (model,) = train(corpus, corpus.conf / f"{Path(other).name}.yaml", seeds=1)
            given.append(f"--data.{name}={model}")
        else:
            continue
        files = (model / "model.json", model / "weights.safetensors")
        inputs += [path for path in files if path.exists()]  # the script says what is missing
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


def kind_of(conf: Path) -> str:
    """The kind of acoustic model that settings are for, one of `KINDS`."""
    first = conf.stem.partition("-")[0]
    return first if first in KINDS else KINDS[0]


def minutes_of(corpus: Corpus, conf: Path, model: Path) -> float:
    """Minutes of training a model, with those of the models that it begins with or learns from."""
    minutes = read_description(model)["trained_on"]["minutes"]
    for name in OTHERS:
        if other := _data(conf).get(name):
            before = corpus.out / Path(other).name
            minutes += minutes_of(corpus, corpus.conf / f"{before.name}.yaml", before)
    return minutes


def prepare(data: Path, data_root: Path | None, outputs: Sequence[Path]) -> None:
    """The manifests or texts of a folder of data/."""
    command: Command = [data / "prepare.py", "--out", data]
    command += ["--data-root", data_root] if data_root else []
    run_stage(command, inputs=[*data.glob("*.py"), *data.glob("*.tsv")], outputs=outputs)


def decoding_options(corpus: Corpus, decode: Path) -> tuple[Command, list[Path]]:
    """What a file asks of recipes/evaluate.py, and the files that it takes; models are trained.

    Raises:
        InputError: the file has an unknown setting, or no list where it should.
    """
    values = read_yaml(decode)
    for name in values.keys() - {*WAYS, "systems", "of_phones"}:
        raise InputError(f"{decode}: unknown setting {name}; expected one of {', '.join(WAYS)}")
    ways: Command = ["--decoder", "beam"]
    ways += ["--beam-width", str(values["beam_width"])] if values.get("beam_width") else []
    files = []
    if values.get("lexicon"):
        files.append(corpus.root / values["lexicon"])
        ways += ["--lexicon", files[0]]
    for option in ("lm", "rescorer"):
        names = values.get(option, [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(f"{decode}: {option} is {names!r}; expected a list of names")
        for name in names:
            shared = "/" in name  # novels/lm has its settings in conf/novels, whoever asks for it
            conf = (corpus.conf.parent if shared else corpus.conf) / f"{name}.yaml"
            model = (corpus.out.parent if shared else corpus.out) / name
            if model / "model.json" not in files:
                train_language_model(corpus, conf, model)
                files.append(model / "model.json")
            ways += [f"--{option}", model]
    return ways, files


def train_language_model(corpus: Corpus, conf: Path, model: Path) -> None:
    """A language model's folder; texts of another corpus are prepared first.

    Raises:
        InputError: the settings name no texts.
    """
    data = _data(conf)
    if "train" not in data:
        raise InputError(f"{conf}: has no data.train; expected the texts to train on")
    texts = {part: corpus.root / data[part] for part in ("train", "dev") if part in data}
    if (folder := texts["train"].parent).name != corpus.name:
        try:
            prepare(folder, corpus.data_root, list(texts.values()))
        except SystemExit:
            print(f"{conf} takes these texts; --greedy does without", file=sys.stderr)
            raise
    script = "train_ngram.py" if conf.stem.startswith("ngram") else "train_lm.py"
    command: Command = [corpus.root / "recipes" / script, "--config", conf, "--out", model]
    command += [f"--data.{part}={path}" for part, path in texts.items()]
    run_stage(command, inputs=[conf, *texts.values()], outputs=[model / "model.json"])


def _data(conf: Path) -> dict[str, Any]:
    """What settings say of data."""
    found = read_yaml(conf).get("data", {})
    if not isinstance(found, dict):
        raise InputError(f"{conf}: data is {found!r}; expected settings by name")
    return found
