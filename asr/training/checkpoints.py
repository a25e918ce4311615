"""Checkpoints of a training run: written whole or not at all, checked before anything is read."""

import hashlib
import io
import os
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from asr.errors import InputError
from asr.files import replacing

LAST = "last.ckpt"
"""The whole state of training, as it was last saved."""

BEFORE = "before.ckpt"
"""The same, as it was saved the time before."""


MARK = b"sha256 "
"""What the comment of a checkpoint's zip file begins with; the digest of all before it follows."""


class CheckpointFiles(TorchCheckpointIO):
    """How Lightning writes and reads checkpoints: a kill or a full disk loses none that is there.

    Each is written beside its place, reaches the disk and then takes its name. What was the last
    one stays as `BEFORE`. Epochs that neither of the two names any more are removed only then.

    Args:
        last_is_whole: False where `LAST` is damaged, and `BEFORE` must outlive the next one.
    """

    def __init__(self, last_is_whole: bool = True) -> None:
        self._last_is_whole = last_is_whole
        self._named: set[str] = set()  # epochs that the checkpoint before this one keeps

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = _with_digest(checkpoint)
        with replacing(path) as partial:
            partial.write_bytes(content)
            if path.name == LAST and self._last_is_whole:
                with suppress(FileNotFoundError):
                    os.replace(path, path.with_name(BEFORE))
        if path.name == LAST:
            self._last_is_whole = True
            named = kept_epochs(checkpoint)
            for epoch in path.parent.glob("epoch=*.ckpt"):
                if epoch.name not in named | self._named:
                    epoch.unlink(missing_ok=True)
            self._named = named

    def load_checkpoint(self, path: str | Path, *args: Any, **options: Any) -> dict[str, Any]:
        checkpoint = super().load_checkpoint(path, *args, **options)
        self._named = kept_epochs(checkpoint)
        return checkpoint


class KeptEpochs(ModelCheckpoint):
    """Lightning's checkpoints, which it would no longer know in a folder that was renamed."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return str(Path(str(self.dirpath), Path(path).name)) if path else path

        state = dict(state_dict, dirpath=self.dirpath)
        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            state[name] = here(state[name])
        state["best_k_models"] = {here(p): score for p, score in state["best_k_models"].items()}
        super().load_state_dict(state)

    def _remove_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        """Leave it to `CheckpointFiles`: what training may go on from may name it still."""


def newest_whole(folder: Path) -> tuple[Path | None, str]:
    """The checkpoint to go on from: it is whole, and so are the epochs that it keeps.

    Args:
        folder: of checkpoints; it need not be there.

    Returns:
        path: None where nothing was saved yet.
        fault: what is wrong with `LAST`, where `path` is `BEFORE`; or nothing.

    Raises:
        InputError: there are checkpoints, and none of them is whole.
    """
    faults = []
    for path in (folder / LAST, folder / BEFORE):
        if path.exists():
            try:
                _check_with_epochs(path)
            except InputError as error:
                faults.append(str(error))
            else:
                return path, "; ".join(faults)
        elif path.name == LAST:
            faults.append(f"{path}: is missing")
    if (folder / BEFORE).exists() or (folder / LAST).exists():
        raise InputError("; ".join(faults))
    return None, ""


def check_whole(path: Path) -> None:
    """Raise InputError where a checkpoint is missing, or any byte is another than was written."""
    try:
        with zipfile.ZipFile(path) as archive:
            mark = archive.comment
            if mark.startswith(MARK):
                with path.open("rb") as file:
                    whole = _digest_of_all_but(file, len(mark)) == mark
            else:  # of an earlier version; torch reads nothing where the attributes say "folder"
                whole = archive.testzip() is None
                whole = whole and not any(member.external_attr for member in archive.infolist())
    except FileNotFoundError:
        raise InputError(f"{path}: is missing") from None
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror or error}") from None
    except MemoryError:
        raise
    except Exception:  # the zip's reader has no error that all damage ends in
        whole = False
    if not whole:
        raise InputError(f"{path}: is damaged: expected the bytes that training wrote")


def load_whole(path: Path) -> dict[str, Any]:
    """What a checkpoint holds, on the CPU.

    Raises:
        InputError: it is missing or damaged.
    """
    check_whole(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # of many kinds, as its reader has it
        found = str(error).partition("\n")[0]
        raise InputError(f"{path}: is damaged: {found}") from None


def kept_epochs(checkpoint: dict[str, Any]) -> set[str]:
    """The names of the epochs' files that are to be averaged, as far as a checkpoint knows."""
    states = checkpoint.get("callbacks", {}).values()
    return {Path(path).name for state in states for path in state.get("best_k_models", ())}


def average_weights(checkpoints: Sequence[str | Path]) -> dict[str, Tensor]:
    """The mean of each weight over Lightning checkpoints.

    Raises:
        InputError: one is missing or damaged.
    """
    mean: dict[str, Tensor] = {}
    for path in checkpoints:
        for name, value in load_whole(Path(path))["state_dict"].items():
            mean[name] = mean.get(name, 0) + value / len(checkpoints)
    return mean


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes have left; no other one may train there now."""
    for partial in folder.glob("*.ckpt.*.partial"):
        partial.unlink(missing_ok=True)


def _with_digest(checkpoint: dict[str, Any]) -> bytearray:
    """A checkpoint as bytes: torch's zip file, and as its comment the digest of all before it."""
    buffer = io.BytesIO()  # torch does not say why it can't write to a file
    torch.save(checkpoint, buffer)
    content = bytearray(buffer.getbuffer())
    size = len(MARK) + 2 * hashlib.sha256().digest_size
    content[-2:] = size.to_bytes(2, "little")  # of the comment, which is empty and the zip's end
    content += MARK + hashlib.sha256(content).hexdigest().encode()
    return content


def _digest_of_all_but(file: BinaryIO, size: int) -> bytes:
    """The comment that a checkpoint should have, whose own is of so many bytes."""
    found = hashlib.sha256()
    left = os.fstat(file.fileno()).st_size - size
    while left and (block := file.read(min(left, 1 << 20))):
        found.update(block)
        left -= len(block)
    return MARK + found.hexdigest().encode()


def _check_with_epochs(path: Path) -> None:
    for name in sorted(kept_epochs(load_whole(path))):
        check_whole(path.with_name(name))
