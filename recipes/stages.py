"""A script with its input and output files -> run, unless it has been run on the same already."""

import hashlib
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from asr.files import read_text, write_text


def run_stage(
    command: Sequence[str | Path], inputs: Sequence[Path], outputs: Sequence[Path]
) -> None:
    """Run a Python script, unless it has succeeded with the same command and the same inputs.

    The command is shown on stderr, from the repository's folder on where that is the current one.
    What the script prints on stdout is left out. Ctrl-C and SIGTERM are passed on to it, once each,
    and waited for: a training run saves where it is.

    Args:
        command: the script and its options.
        inputs: files that it reads.
        outputs: files that it writes; beside the last stands the mark that it has succeeded.

    Raises:
        SystemExit: the script failed; with its status, or the shell's for the signal it ended by.
        OSError: an input can't be read.
    """
    words = [str(word) for word in command]
    digest = hashlib.sha256("\0".join(words).encode())
    for path in sorted(inputs):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    shown = shlex.join(["python", *(word.removeprefix(f"{Path.cwd()}/") for word in words)])
    done = outputs[-1].with_name(f".{outputs[-1].stem}.done")
    if done.exists() and read_text(done) == digest.hexdigest() and all(map(Path.exists, outputs)):
        print(f"unchanged: {shown}", file=sys.stderr)
        return
    print(shown, file=sys.stderr, flush=True)
    done.unlink(missing_ok=True)  # if it fails now, what it has written till then is not its output
    status = _status([sys.executable, *words])
    if status:
        raise SystemExit(status if status > 0 else 128 - status)
    write_text(done, digest.hexdigest())


def _status(command: list[str]) -> int:
    # in a session of its own: a terminal sends Ctrl-C to all of a session, and it would come twice
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
