"""Run scripts as stages that are skipped if their command and inputs have not changed."""

import hashlib
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from asr.files import file_digest, read_text, write_text


def run_stage(
    command: Sequence[str | Path],
    inputs: Sequence[Path],
    outputs: Sequence[Path],
    new_folder: Path | None = None,
) -> None:
    """Run a script as `run_script` does, unless it succeeded with the same command and inputs.

    Args:
        command: the script and its options.
        inputs: files that it reads.
        outputs: files that it writes. A file beside the last one records the success.
        new_folder: a folder that the script makes; that of an earlier run is removed first.

    Raises:
        SystemExit: as for `run_script`.
        OSError: an input can't be read.
    """
    words = [str(word) for word in command]
    digest = hashlib.sha256("\0".join(words).encode())
    for path in sorted(inputs):
        digest.update(bytes.fromhex(file_digest(path)))
    done = outputs[-1].with_name(f".{outputs[-1].stem}.done")
    if done.exists() and read_text(done) == digest.hexdigest() and all(map(Path.exists, outputs)):
        print(f"unchanged: {_shown(words)}", file=sys.stderr)
        return
    done.unlink(missing_ok=True)  # if the script fails now, its outputs are incomplete
    if new_folder and new_folder.exists():
        shutil.rmtree(new_folder)
    run_script(words)
    write_text(done, digest.hexdigest())


def run_script(command: Sequence[str | Path]) -> None:
    """Run a Python script.

    The command is printed on stderr, with paths relative to the current folder. The script's own
    stdout is discarded. Ctrl-C, SIGTERM and SIGHUP are passed on to the script once; then this
    process waits until it ends, so that a training can save its state.

    Raises:
        SystemExit: the script failed; the status is the script's, or 128 plus the number of the
            signal that ended it.
    """
    words = [str(word) for word in command]
    print(_shown(words), file=sys.stderr, flush=True)
    status = _status([sys.executable, *words])
    if status:
        raise SystemExit(status if status > 0 else 128 - status)


def _shown(words: Sequence[str]) -> str:
    return shlex.join(["python", *(word.removeprefix(f"{Path.cwd()}/") for word in words)])


def _status(command: list[str]) -> int:
    # in its own session: a terminal sends Ctrl-C to the whole session, so it would get it twice
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)

    def forward(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, forward) for number in numbers}
    try:
        return process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
