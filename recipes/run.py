"""The whole way for one corpus: prepare, train, evaluate, report.

python recipes/run.py CORPUS [--data-root DIR] [--out DIR] [--seeds N] [--greedy] [key=value]

Settings are those of conf/CORPUS/ctc.yaml; the model's folder, exp/CORPUS/ctc, is called after it.
--config FILE takes others.
key=value changes a setting of it: `model.n_layers=4 trainer.max_epochs=20`.
Where there is a conf/CORPUS/decode.yaml, the language models that it names are trained as well,
unless --greedy asks for best path alone.
A stage whose command and input files have not changed since it succeeded is skipped.
"""

import argparse
import os
import sys
from pathlib import Path

from asr.config import read_yaml
from asr.errors import reported
from asr.evaluation import report
from asr.stages import run_stage

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    options = parse()
    out = options.out or Path(os.path.relpath(ROOT / "exp" / options.corpus))
    data, confs = ROOT / "data" / options.corpus, ROOT / "conf" / options.corpus
    conf = options.config or confs / "ctc.yaml"
    settings = read_yaml(conf)["data"]
    name = Path(settings["train"]).name  # words, or phones
    train, dev, test = (data / name.replace("train", part) for part in ("train", "dev", "test"))
    lexicon = settings.get("lexicon", "cmudict")  # which is none of the corpus's files
    lexicon = [] if lexicon == "cmudict" else [data / Path(lexicon).name]

    prepare(data, options.data_root, [*lexicon, train, dev, test])
    ways, models = [], []
    if (confs / "decode.yaml").exists() and not options.greedy:
        ways, models = decoding(confs, out, options.data_root)
    results = []
    for seed in range(1, options.seeds + 1):
        model = out / (conf.stem if options.seeds == 1 else f"{conf.stem}-seed{seed}")
        command = [ROOT / "recipes/train_ctc.py", "--config", conf, "--out", model, "--seed", seed]
        command += ["--data.train", train, "--data.dev", dev]
        command += [f"--data.lexicon={path}" for path in lexicon]
        command += [f"--{setting}" for setting in options.settings]
        run_stage(command, inputs=[conf, *lexicon, train, dev], outputs=[model / "model.json"])
        evaluate = [ROOT / "recipes/evaluate.py", "--model", model, "--manifest", test]
        evaluate += [*ways, "--tune", dev] if ways else []
        inputs = [model / "model.json", model / "weights.safetensors", test, dev, *models]
        run_stage(evaluate, inputs, outputs=[model / test.stem / "results.json"])
        results.append(model / test.stem)
    print("\n".join(report(results)))
    print(f"model: {model}")


def parse() -> argparse.Namespace:
    corpora = sorted(path.parent.name for path in ROOT.glob("conf/*/ctc.yaml"))  # others are text
    parser = argparse.ArgumentParser(prog="run", usage=__doc__.splitlines()[2])
    parser.add_argument("corpus", choices=corpora, metavar="CORPUS", help=", ".join(corpora))
    parser.add_argument("--config", type=Path, help="default conf/CORPUS/ctc.yaml")
    parser.add_argument("--data-root", type=Path, help="where corpora lie; default $ASR_DATA")
    parser.add_argument("--out", type=Path, help="default exp/CORPUS")
    parser.add_argument("--seeds", type=int, default=1, help="trainings, from seed 1 on")
    parser.add_argument("--greedy", action="store_true", help="best path, no language model")
    keys = {"metavar": "key=value", "default": [], "help": "see the file of settings"}
    parser.add_argument("settings", nargs="*", **keys)
    options = parser.parse_intermixed_args()  # settings may stand behind options
    if wrong := [setting for setting in options.settings if "=" not in setting]:
        parser.error(f"{wrong[0]}: is no setting; expected key=value")
    if options.seeds < 1:
        parser.error(f"--seeds is {options.seeds}; expected 1 or more")
    return options


def prepare(data: Path, data_root: Path | None, outputs: list[Path]) -> None:
    """The manifests or texts of a folder of data/."""
    command = [data / "prepare.py", "--out", data]
    command += ["--data-root", data_root] if data_root else []
    run_stage(command, inputs=[*data.glob("*.py"), *data.glob("*.tsv")], outputs=outputs)


def decoding(confs: Path, out: Path, data_root: Path | None) -> tuple[list[str | Path], list[Path]]:
    """What conf/CORPUS/decode.yaml asks of recipes/evaluate.py, and the models that it takes."""
    values = read_yaml(confs / "decode.yaml")
    ways: list[str | Path] = ["--decoder", "beam"]
    ways += ["--lexicon", ROOT / values["lexicon"]] if values.get("lexicon") else []
    ways += ["--beam-width", str(values["beam_width"])] if values.get("beam_width") else []
    models = []
    for option in ("lm", "rescorer"):
        for name in values.get(option, []):
            shared = "/" in name  # novels/lm has its settings in conf/novels, whoever asks for it
            conf = (confs.parent if shared else confs) / f"{name}.yaml"
            model = (out.parent if shared else out) / name
            train_language_model(conf, model, confs.name, data_root)
            ways += [f"--{option}", model]
            models.append(model / "model.json")
    return ways, models


def train_language_model(conf: Path, model: Path, corpus: str, data_root: Path | None) -> None:
    """A language model's folder; texts of another corpus than the recipe's are prepared first."""
    data = read_yaml(conf)["data"]
    texts = {part: ROOT / data[part] for part in ("train", "dev") if part in data}
    if (folder := texts["train"].parent).name != corpus:
        try:
            prepare(folder, data_root, list(texts.values()))
        except SystemExit:
            print(f"run: {conf} takes these texts; --greedy does without", file=sys.stderr)
            raise
    script = "train_ngram.py" if conf.stem.startswith("ngram") else "train_lm.py"
    command = [ROOT / "recipes" / script, "--config", conf, "--out", model]
    command += [f"--data.{part}={path}" for part, path in texts.items()]
    run_stage(command, inputs=[conf, *texts.values()], outputs=[model / "model.json"])


if __name__ == "__main__":
    with reported("run"):
        main()
