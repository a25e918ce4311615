"""URL -> checked archive -> folder."""

import hashlib
import os
import shutil
import sys
import tarfile
import urllib.error
import urllib.request
import zlib
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from asr.errors import InputError

CHUNK = 1 << 20
TIMEOUT_S = 60


def download(url: str, path: Path, checksum: str = "") -> Path:
    """Fetch a file; one that was cut short earlier goes on from `path` + ".partial".

    Args:
        url: of the file, http or https.
        path: where it goes; there is never an incomplete file of this name.
        checksum: "md5:..." or "sha256:..." in hexadecimal; empty if none is published.

    Returns:
        path: the same.

    Raises:
        InputError: the server refuses, the connection breaks, the file is shorter than announced
            (what came is kept: run again to go on), or the checksum differs (what came is removed).
    """
    if path.exists():
        _check(path, checksum, url)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        _fetch(url, partial)
    except urllib.error.HTTPError as error:
        raise InputError(f"{url}: the server answers {error.code} {error.reason}") from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(f"{url}: {reason}; what came is kept, run again to go on") from None
    _check(partial, checksum, url)
    os.replace(partial, path)
    return path


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar archive, wholly or not at all, into a new folder.

    Raises:
        InputError: it can't be read to its end, or a member is no plain file or folder (links,
            devices) or would lie outside of the folder. Nothing is left of it.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with tarfile.open(archive) as tar:
            # Python has it from 3.11.4 on; what is unsafe is refused without it, too
            tar.extraction_filter = getattr(tarfile, "data_filter", None)
            for member in tar:
                _refuse_unsafe(member, archive)
                tar.extract(member, partial)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise InputError(f"{archive}: can't be unpacked: {error}") from None
    except InputError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    os.replace(partial, folder)


def _fetch(url: str, partial: Path) -> None:
    start = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        # a server asked for what follows the end says so, and how long the file is
        if error.code != 416 or not start:
            raise
        if error.headers.get("Content-Range") != f"bytes */{start}":
            partial.unlink()
            _fetch(url, partial)
        return
    with response:
        if response.status != 206:  # the whole file again: this server can't go on
            start = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise OSError("the server goes on at another place than asked for")
        with partial.open("ab" if start else "wb") as file:
            _copy(response, file, url, start)


def _copy(response: HTTPResponse, file: BinaryIO, url: str, start: int) -> None:
    announced = response.headers.get("Content-Length")
    total = start + int(announced) if announced else None
    size = start
    while chunk := response.read(CHUNK):
        file.write(chunk)
        size += len(chunk)
        _say_progress(url, size, total)
    if total is not None and size != total:
        raise OSError(f"ended after {size} of {total} bytes")


def _say_progress(url: str, size: int, total: int | None) -> None:
    if sys.stderr.isatty():
        of = f" of {total / 1e6:.0f}" if total else ""
        end = "\n" if size == total else ""
        print(f"\r{url}: {size / 1e6:.0f}{of} MB", end=end, file=sys.stderr, flush=True)


def _check(path: Path, checksum: str, url: str) -> None:
    if not checksum:
        return
    algorithm, expected = checksum.split(":")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found != expected:
        path.unlink()
        raise InputError(f"{url}: {algorithm} is {found}; expected {expected}; removed, run again")


def _refuse_unsafe(member: tarfile.TarInfo, archive: Path) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise InputError(f"{archive}: member {member.name!r} lies outside of the archive")
    if not (member.isfile() or member.isdir()):
        raise InputError(
            f"{archive}: member {member.name!r} is a link or a device; expected files and folders"
        )
