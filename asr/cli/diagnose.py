"""`asr diagnose`: a recurrent model and recordings -> how far it remembers, what its gates do."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.errors import InputError, reported, say
from asr.files import path_of, write_text

if TYPE_CHECKING:
    from torch import Tensor

PROGRAM = "asr diagnose"


def diagnose(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            parser=path_of,
            help="A trained model's folder, or the name of an installed model.",
            show_default=False,
        ),
    ],
    audio: Annotated[
        list[Path],
        typer.Argument(
            metavar="AUDIO...",
            parser=path_of,
            help="Audio files, or folders, which are searched recursively.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=path_of,
            help="Write an HTML page with pictures to this file.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """How far a recurrent model remembers, and what its gates do.

    For each layer and direction: how the gradient of an output shrinks with the distance of the
    input, and the shares of gates that are nearly closed (below 0.1) and nearly open (above 0.9).
    The reach is the largest distance at which the gradient's norm is at least a tenth of its
    highest; "per frame" is the factor by which it changes with each frame.

    If a file can't be used, stderr has its name and the reason, the others are still measured, and
    the exit status is 1.
    """
    with reported(PROGRAM):
        if out and out.exists():
            raise InputError(f"{out}: already exists; expected a new file")
        import torch

        from asr.cli.audio_files import find_audio
        from asr.cli.output import print_lines
        from asr.cli.transcript_output import failures_as_lines
        from asr.evaluation.diagnosis import diagnose as measure
        from asr.evaluation.diagnosis import network_of
        from asr.evaluation.diagnosis_page import diagnosis_page, diagnosis_rows, table_lines
        from asr.installed import model_folder
        from asr.model import load_model
        from asr.recognizer import Recognizer

        recordings = [path for path, _ in find_audio(audio, PROGRAM, lambda _: False)]
        loaded = load_model(model_folder(model))
        try:
            network_of(loaded)
        except InputError as error:
            raise InputError(f"{model}: {error}") from None
        recognizer = Recognizer(loaded)
        failures: dict[Path, str] = {}

        def waveforms() -> "Iterator[Tensor]":
            for path in recordings:
                with failures_as_lines(PROGRAM, path, failures):
                    started = recognizer.start_reading(path)
                if path in failures:
                    continue
                if started.is_long:
                    longest = recognizer.segmentation.max_segment_s
                    say(PROGRAM, f"{path}: only the first {longest:g} s are used")
                yield torch.from_numpy(started.waveform)

        found = measure(loaded, waveforms())
        if found.n_utterances:
            print_lines(table_lines(diagnosis_rows(found)))
            if out:
                write_text(out, diagnosis_page(f"{PROGRAM} {model}", found))
    if failures:
        raise typer.Exit(1)
