"""Checkpoints of a training run: written whole or not at all, and checked before use."""

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
"""The last checkpoint: the whole state of training."""

BEFORE = "before.ckpt"
"""The checkpoint before the last one."""

MARK = b"sha256 "
"""Start of the comment of a checkpoint's zip file; the digest of all earlier bytes follows."""


class CheckpointFiles(TorchCheckpointIO):
    """Lightning's writing and reading of checkpoints, safe against kills and full disks.

    A checkpoint is written to a temporary file beside its place, flushed to disk and then renamed.
    The last checkpoint before it stays as `BEFORE`. Only then are the files of epochs removed that
    neither of the two refers to.

    Args:
        last_is_whole: false if `LAST` is damaged, so that it must not replace `BEFORE`.
    """

    def __init__(self, last_is_whole: bool = True) -> None:
        self._last_is_whole = last_is_whole
        self._kept_before: set[str] = set()  # epochs that the checkpoint before this one keeps

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
            kept = kept_epochs(checkpoint)
            for epoch in path.parent.glob("epoch=*.ckpt"):
                if epoch.name not in kept | self._kept_before:
                    epoch.unlink(missing_ok=True)
            self._kept_before = kept

    def load_checkpoint(self, path: str | Path, *args: Any, **options: Any) -> dict[str, Any]:
        checkpoint = super().load_checkpoint(path, *args, **options)
        self._kept_before = kept_epochs(checkpoint)
        return checkpoint


class KeptEpochs(ModelCheckpoint):
    """Lightning's `ModelCheckpoint`, which can also resume in a folder that was renamed."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def in_folder(path: str) -> str:
            return str(Path(str(self.dirpath), Path(path).name)) if path else path

        state = dict(state_dict, dirpath=self.dirpath)
        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            state[name] = in_folder(state[name])
        scores = state["best_k_models"].items()
        state["best_k_models"] = {in_folder(path): score for path, score in scores}
        super().load_state_dict(state)

    def _remove_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        """Do nothing: `CheckpointFiles` removes files that no checkpoint refers to."""


def newest_whole(folder: Path) -> tuple[Path | None, str]:
    """The newest checkpoint that is whole, as are all the epochs that it keeps.

    Args:
        folder: of checkpoints; may be missing.

    Returns:
        path: `LAST` or `BEFORE`; None if there is no checkpoint.
        fault: what is wrong with `LAST`, if `path` is `BEFORE`; else empty.

    Raises:
        InputError: there are checkpoints, but all of them are damaged.
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
    """Raise InputError if a checkpoint is missing or any of its bytes has changed."""
    try:
        with zipfile.ZipFile(path) as archive:
            mark = archive.comment
            if mark.startswith(MARK):
                with path.open("rb") as file:
                    whole = _digest_of_all_but(file, len(mark)) == mark
            else:  # from an earlier version; torch reads nothing if the attributes say "folder"
                whole = archive.testzip() is None
                whole = whole and not any(member.external_attr for member in archive.infolist())
    except FileNotFoundError:
        raise InputError(f"{path}: is missing") from None
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror or error}") from None
    except MemoryError:
        raise
    except Exception:  # damage makes the zip reader raise errors of many kinds
        whole = False
    if not whole:
        raise InputError(f"{path}: is damaged: expected the bytes that training wrote")


def load_whole(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU.

    Raises:
        InputError: the file is missing or damaged.
    """
    check_whole(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # damage makes torch raise errors of many kinds
        found = str(error).partition("\n")[0]
        raise InputError(f"{path}: is damaged: {found}") from None


def kept_epochs(checkpoint: dict[str, Any]) -> set[str]:
    """File names of the epochs that are to be averaged, according to a checkpoint."""
    states = checkpoint.get("callbacks", {}).values()
    return {Path(path).name for state in states for path in state.get("best_k_models", ())}


def average_weights(checkpoints: Sequence[str | Path]) -> dict[str, Tensor]:
    """The mean of each weight over several checkpoints.

    Raises:
        InputError: a checkpoint is missing or damaged.
    """
    mean: dict[str, Tensor] = {}
    for path in checkpoints:
        for name, value in load_whole(Path(path))["state_dict"].items():
            mean[name] = mean.get(name, 0) + value / len(checkpoints)
    return mean


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of killed processes; no other process may train there now."""
    for partial in folder.glob("*.ckpt.*.partial"):
        partial.unlink(missing_ok=True)


def _with_digest(checkpoint: dict[str, Any]) -> bytearray:
    """A checkpoint as torch's zip file, with the digest of its bytes as the zip's comment."""
    buffer = io.BytesIO()  # torch hides the reason when it can't write to a file
    torch.save(checkpoint, buffer)
    content = bytearray(buffer.getbuffer())
    size = len(MARK) + 2 * hashlib.sha256().digest_size
    # the zip ends with the length of its comment, which was empty
    content[-2:] = size.to_bytes(2, "little")
    content += MARK + hashlib.sha256(content).hexdigest().encode()
    return content


def _digest_of_all_but(file: BinaryIO, size: int) -> bytes:
    """The comment that a checkpoint should have; its own comment has `size` bytes."""
    found = hashlib.sha256()
    left = os.fstat(file.fileno()).st_size - size
    while left and (block := file.read(min(left, 1 << 20))):
        found.update(block)
        left -= len(block)
    return MARK + found.hexdigest().encode()


def _check_with_epochs(path: Path) -> None:
    for name in sorted(kept_epochs(load_whole(path))):
        check_whole(path.with_name(name))
