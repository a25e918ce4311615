"""Transcribe folders of recordings on many machines, to the files of `asr transcribe --out`.

python recipes/transcribe_ray.py AUDIO... --model exp/an4/ctc --out DIR
  [--address HOST:PORT] [--workers N] [--format srt,json] [--device cuda] ...

Ray Data gives batches of recordings to workers, each with its own model and one CPU or GPU. Without
--address they are processes of this machine. With it they run in a cluster that is already started:
every machine needs this package, and the same folders with the model and the recordings.

This process alone writes to --out, each transcript as soon as it is there. The recordings of a
worker that dies are done by others. If a recording kills every worker, it is listed in failed.tsv
with the other failures. The same command continues where it stopped, even if it was killed.
"""

import argparse
import logging
import math
import os
import pickle
import socket
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from asr.alignment.transcript import Transcript
from asr.audio.load import AudioWarning
from asr.cli.audio_files import find_audio
from asr.cli.options import model_or_default
from asr.cli.transcript_output import (
    is_output,
    parse_formats,
    tell_failures,
    write_all,
)
from asr.decoder import refuse_greedy, search_of
from asr.errors import InputError, counted, has_one_line, one_line, reported, say
from asr.files import path_of
from asr.installed import model_folder
from asr.recognizer import Recognizer, load
from asr.text.phrases import read_phrases
from asr.transcribing.files import transcribe_files
from asr.transcribing.punctuation import FormatPunctuation, choose_punctuation

PROGRAM = "transcribe_ray"
MAX_TASK_RETRIES = 3
"""How often a batch is given to a worker again after one has died."""

_MAX_BATCH = 32  # recordings that a worker gets at once; if it dies, all are done again
_BATCHES_PER_WORKER = 4  # at least, so that workers finish at about the same time
_OBJECT_STORE_BYTES = 100 << 20  # Ray keeps only paths and transcripts in it

Result = Transcript | Exception
Batch = list[tuple[int, Path]]  # recordings with their numbers


def main() -> None:
    options = parse()
    formats = parse_formats(options.format, PROGRAM)
    recordings = find_audio(options.audio, PROGRAM, is_output)
    if any(str(path) == "-" for path, _ in recordings):
        raise InputError("AUDIO is -; expected files, as workers can't read standard input")
    likely = read_phrases(options.phrases) if options.phrases else None
    search = (options.decoder, options.lm, options.beam_width, likely)

    def punctuation() -> FormatPunctuation:
        return choose_punctuation(model_folder(options.model), formats, options.punctuate)

    def results(paths: Sequence[Path]) -> Iterator[tuple[Path, Result]]:
        load(options.model, "cpu", *search)  # refuses what can't be used before workers start
        with cluster(options.address, options.workers):
            device, n_workers = resources(options.device, options.workers)
            load_model = partial(load, options.model, device, *search)
            arguments = (Path.cwd(), load_model, options.channel, options.batch_s)
            yield from transcribed(paths, arguments, device, n_workers)

    failures = write_all(
        PROGRAM, recordings, options.out, formats, options.channel, punctuation, results
    )
    tell_failures(PROGRAM, failures, len(recordings))
    if failures:
        sys.exit(1)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument(
        "audio",
        metavar="AUDIO",
        nargs="+",
        type=path_of,
        help="audio files, folders, which are searched recursively, or quoted patterns",
    )
    parser.add_argument(
        "--model",
        type=path_of,
        help="a trained model's folder, or its name; default as in `asr transcribe`",
    )
    parser.add_argument(
        "--out", type=path_of, required=True, help="folder for one file per recording and format"
    )
    parser.add_argument(
        "--format",
        default="txt",
        help="txt, json, srt, vtt, ctm or textgrid, or several; default txt",
    )
    parser.add_argument("--channel", type=int, help="channel to use, from 0; default: mean of all")
    parser.add_argument(
        "--decoder",
        choices=["greedy", "beam", "flashlight"],
        help="search algorithm; default as in `asr transcribe`",
    )
    parser.add_argument("--lm", type=path_of, help="language model for the search")
    parser.add_argument("--beam-width", type=int, help="number of prefixes kept")
    parser.add_argument("--phrases", type=path_of, help="phrases to make more likely, one per line")
    parser.add_argument(
        "--punctuate",
        action=argparse.BooleanOptionalAction,
        help="put punctuation into the text; default as in `asr transcribe`",
    )
    parser.add_argument(
        "--batch-s",
        type=int,
        default=60,
        help="seconds of audio that are recognised together, 0 for one file at a time; default 60",
    )
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="default auto"
    )
    parser.add_argument(
        "--address", help="a running cluster, HOST:PORT or auto; default: processes of this machine"
    )
    parser.add_argument(
        "--workers", type=int, help="number of workers; default: that of all CPUs or GPUs"
    )
    options = parser.parse_args()
    options.model = model_or_default(PROGRAM, options.model)
    for name, least in (("channel", 0), ("beam_width", 1), ("batch_s", 0), ("workers", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            parser.error(f"--{name.replace('_', '-')} is {value}; expected {least} or more")
    given = {
        f"--{n.replace('_', '-')}": getattr(options, n) for n in ("lm", "beam_width", "phrases")
    }
    try:
        refuse_greedy(options.decoder or "", given)
        if options.decoder:
            search_of(options.decoder)
    except InputError as error:  # it starts with the setting's name
        parser.error(f"--{error}")
    return options


@contextmanager
def cluster(address: str | None, n_workers: int | None) -> Iterator[None]:
    """Ray: a running cluster, or one of this machine's processes, which are ended afterwards.

    What Ray prints on stdout, such as the death of a worker, goes to stderr.

    Args:
        address: of the running cluster; None for this machine.
        n_workers: number of this machine's processes; None for one per CPU.

    Raises:
        InputError: Ray is not installed.
        OSError: there is no cluster at the address.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError:
        raise InputError(
            "ray is not installed; expected it after: pip install 'ray[data]>=2.60,<2.64'"
        ) from None
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not address:
        quiet |= {"num_cpus": n_workers, "include_dashboard": False}
        quiet["object_store_memory"] = _OBJECT_STORE_BYTES
    with redirect_stdout(sys.stderr):
        ray.init(address or "local", **quiet)
        try:
            yield
        finally:
            ray.shutdown()


def resources(device: str, n_workers: int | None) -> tuple[str, int]:
    """The device of each worker, cpu or cuda, and the number of workers.

    Args:
        device: auto, cpu or cuda.
        n_workers: None for all CPUs or GPUs of the cluster.

    Raises:
        InputError: the device is cuda and the cluster has no GPU.
    """
    import ray

    found = ray.cluster_resources()
    if device == "cuda" and not found.get("GPU"):
        raise InputError("--device is cuda; the cluster has no GPU")
    if device == "auto":
        device = "cuda" if found.get("GPU") else "cpu"
    return device, n_workers or int(found.get("GPU" if device == "cuda" else "CPU", 0)) or 1


def transcribed(
    paths: Sequence[Path], arguments: tuple[Any, ...], device: str, n_workers: int
) -> Iterator[tuple[Path, Result]]:
    """Transcribe recordings by the cluster's workers.

    Recordings whose batch was lost with several workers are done again one by one, as one of them
    may be to blame.

    Args:
        paths: the recordings.
        arguments: of `Worker`.
        device: cpu or cuda.
        n_workers: number of workers.

    Yields:
        path: each recording once, in the order in which they are done.
        result: its transcript, or the exception that was raised for it.

    Raises:
        InputError: a worker's machine lacks the folder, the model or the device.
    """
    rest = dict(enumerate(paths))
    share = math.ceil(len(paths) / (n_workers * _BATCHES_PER_WORKER))
    for size in (min(share, _MAX_BATCH), 1):
        numbered = list(rest.items())
        batches = [numbered[n : n + size] for n in range(0, len(numbered), size)]
        for number, result, told in outcomes(batches, arguments, device, n_workers):
            for warning in told:
                say(PROGRAM, f"warning: {warning}")
            yield rest.pop(number), result
    for path in rest.values():
        times = counted(MAX_TASK_RETRIES + 1, "time")
        yield path, InputError(f"its worker died {times}; expected enough memory for it")


def outcomes(
    batches: Sequence[Batch], arguments: tuple[Any, ...], device: str, n_workers: int
) -> Iterator[tuple[int, Result, list[str]]]:
    """What `Worker` found for each recording, without batches whose workers all died."""
    if not batches:
        return
    import ray.data
    from ray.util.annotations import RayDeprecationWarning

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = -1  # the caller knows which recordings are missing
    size = min(n_workers, len(batches))
    rows = [{"batch": pickle.dumps(batch)} for batch in batches]
    with warnings.catch_warnings():
        # deprecated from 2.60 on, but up to 2.63 nothing else limits retries
        warnings.simplefilter("ignore", RayDeprecationWarning)
        found = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            Worker,
            fn_constructor_args=arguments,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=1),
            num_cpus=0 if device == "cuda" else 1,
            num_gpus=1 if device == "cuda" else 0,
            max_restarts=-1,
            max_task_retries=MAX_TASK_RETRIES,
        )
    for row in found.iter_rows():
        number, result, told = pickle.loads(row["outcome"])
        if number is None:
            raise result
        yield number, result, told


class Worker:
    """A process of the cluster with its own model, which transcribes batches of recordings.

    Args:
        folder: the folder that relative paths start from.
        load_model: loads the model.
        channel: as for `transcribe_files`.
        batch_s: as for `transcribe_files`.
    """

    def __init__(
        self,
        folder: Path,
        load_model: Callable[[], Recognizer],
        channel: int | None,
        batch_s: float,
    ) -> None:
        self.channel, self.batch_s = channel, batch_s
        self.fault: Exception | None = None
        try:
            os.chdir(folder)
            self.recognizer = load_model()
        except (InputError, OSError) as error:
            self.fault = InputError(f"{socket.gethostname()}: {one_line(error)}")

    def __call__(self, rows: dict[str, np.ndarray]) -> dict[str, list[bytes]]:
        """The pickled outcomes of a row with a pickled batch.

        An outcome is a recording's number, its result, and the warnings since the one before. Its
        number is None if this machine can't transcribe at all.
        """
        if self.fault:
            return {"outcome": [pickle.dumps((None, self.fault, []))]}
        (batch,) = map(pickle.loads, rows["batch"])
        found = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", AudioWarning)
            paths = [path for _, path in batch]
            results = transcribe_files(self.recognizer, paths, self.channel, self.batch_s)
            for (number, _), result in zip(batch, results, strict=True):
                told = [str(warning.message) for warning in caught]
                caught.clear()
                found.append(pickle.dumps((number, sendable(result), told)))
        return {"outcome": found}


def sendable(result: Result) -> Result:
    """The result with any exception as one that can be pickled and has all there is to tell."""
    if not isinstance(result, Exception):
        return result
    if has_one_line(result):
        return InputError(one_line(result))
    return RuntimeError("".join(traceback.format_exception(result)))


if __name__ == "__main__":
    with reported(PROGRAM):
        main()
