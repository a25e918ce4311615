"""URL -> checked archive -> folder."""

import hashlib
import os
import shutil
import sys
import tarfile
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from asr.errors import InputError
from asr.files import read_text, write_text
from asr.text.sentences import DAMAGED, open_bytes

CHUNK = 1 << 20
TIMEOUT_S = 60

MAX_FILES = 5_000_000
"""Largest number of members of an archive."""

MAX_GROWTH = 100
"""Largest ratio of an archive's unpacked size to its own; 100 MB are always allowed."""


def download(url: str, path: Path, checksum: str = "") -> Path:
    """Download a file, resuming from `path` + ".partial" if an earlier download was interrupted.

    It resumes only if the server still has the same file. This is checked with the version mark
    (ETag or Last-Modified) that the server gave at first, which is kept in another file. Without a
    mark the download starts anew, unless there is a checksum.

    Args:
        url: of the file, http or https.
        path: of the new file; an incomplete file never has this name.
        checksum: "md5:..." or "sha256:..." in hexadecimal; empty if none is published.

    Returns:
        path: the argument.

    Raises:
        InputError: the server refuses, the connection breaks or the file is shorter than announced
            (the partial file is kept, so that another call resumes), or the checksum differs (the
            partial file is removed).
        OSError: the file can't be written.
    """
    partial = Partial(path)
    if path.exists():
        _check(path, checksum, url)
        partial.remove()
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    if not partial.mark and not checksum:
        partial.remove()
    try:
        _fetch(url, partial)
    except urllib.error.HTTPError as error:
        raise InputError(f"{url}: the server answers {error.code} {error.reason}") from None
    except (OSError, HTTPException) as error:
        if isinstance(error, OSError) and error.filename is not None:  # of the local file
            raise
        reason = getattr(error, "reason", None) or error
        raise InputError(f"{url}: {reason}; what came is kept, run again to go on") from None
    try:
        _check(partial.path, checksum, url)
    except InputError:
        partial.remove()
        raise
    os.replace(partial.path, path)
    partial.remove()
    return path


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar archive into a new folder, completely or not at all.

    The archive is read to the end of the compressed file, since its checksum comes after the end
    mark of the tar.

    Args:
        archive: tar file, may be compressed.
        folder: new folder.

    Raises:
        InputError: the archive is damaged; a member is neither a file nor a folder, or is outside
            of the folder; or there are more than `MAX_FILES` members or more bytes than
            `MAX_GROWTH` allows. No files are left.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with open_bytes(archive) as stream:
            bounded = Bounded(stream, max(10**8, MAX_GROWTH * archive.stat().st_size), archive)
            _extract(bounded, archive, partial)
            while bounded.read(CHUNK):
                pass
        os.replace(partial, folder)
    except (tarfile.TarError, *DAMAGED) as error:
        raise InputError(f"{archive}: can't be unpacked: {error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class Partial:
    """A partial download, with the server's version mark of the file.

    Args:
        path: of the complete file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".partial")
        self._mark = path.with_name(path.name + ".partial.mark")

    @property
    def mark(self) -> str:
        """The server's ETag or Last-Modified; empty if it gave none."""
        return read_text(self._mark) if self._mark.exists() else ""

    @property
    def size(self) -> int:
        """Number of bytes downloaded so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    def begin(self, mark: str) -> None:
        """Start anew: remove the partial file and keep the new version mark."""
        self.remove()
        if mark:
            write_text(self._mark, mark)

    def remove(self) -> None:
        """Remove the partial file and its mark."""
        self.path.unlink(missing_ok=True)
        self._mark.unlink(missing_ok=True)


class Bounded:
    """A stream that raises an error after too many bytes.

    Args:
        stream: of decompressed bytes.
        limit: largest number of bytes.
        archive: path, for the error message.
    """

    def __init__(self, stream: BinaryIO, limit: int, archive: Path) -> None:
        self._stream, self._left = stream, limit
        self._line = f"{archive}: unpacks to more than {limit:,} bytes, {MAX_GROWTH} times its size"

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes.

        Raises:
            InputError: the stream has more bytes than the limit.
        """
        block = self._stream.read(min(size, self._left + 1))
        self._left -= len(block)
        if self._left < 0:
            raise InputError(f"{self._line}; expected recordings or texts")
        return block


def _extract(stream: Bounded, archive: Path, folder: Path) -> None:
    # as a stream without seeking, so that all bytes are counted
    with tarfile.open(fileobj=cast(BinaryIO, stream), mode="r|") as tar:
        # Python has this from 3.11.4 on; unsafe members are refused without it too
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        for number, member in enumerate(tar):
            if number == MAX_FILES:
                raise InputError(f"{archive}: has more than {MAX_FILES:,} members")
            _refuse_unsafe(member, archive)
            tar.extract(member, folder)
            tar.members = []  # type: ignore[attr-defined]  # tarfile would keep all in memory


def _fetch(url: str, partial: Partial) -> None:
    start, mark = partial.size, partial.mark
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and mark:
        headers["If-Range"] = mark
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        # 416: the partial file has all bytes already; the answer has the length of the file
        if error.code != 416 or not start:
            raise
        same = not mark or mark in (error.headers.get("ETag"), error.headers.get("Last-Modified"))
        if not same or error.headers.get("Content-Range") != f"bytes */{start}":
            partial.remove()
            _fetch(url, partial)
        return
    with response:
        now = _mark(response)
        if response.status == 206 and mark and now and now != mark:
            partial.remove()  # the server sent a part of another file, despite If-Range
            _fetch(url, partial)
            return
        if response.status != 206:  # the whole file: it has changed, or the server can't resume
            start = 0
            partial.begin(now)
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise OSError("the server sent another part of the file than asked for")
        with partial.path.open("ab") as file:
            _copy(response, file, url, start)


def _mark(response: HTTPResponse) -> str:
    """The version mark of the server's file: strong ETag or Last-Modified; empty without both."""
    tag = response.headers.get("ETag", "")
    if tag.startswith("W/"):  # a weak ETag may be the same for other bytes
        tag = ""
    return tag or response.headers.get("Last-Modified", "")


def _copy(response: HTTPResponse, file: BinaryIO, url: str, start: int) -> None:
    announced = response.headers.get("Content-Length", "")
    total = start + int(announced) if announced.isdecimal() else None
    size = start
    while chunk := response.read(CHUNK):
        try:
            file.write(chunk)
        except OSError as error:
            error.filename = file.name
            raise
        size += len(chunk)
        _show_progress(url, size, total)
    if total is not None and size != total:
        raise OSError(f"ended after {size} of {total} bytes")


def _show_progress(url: str, size: int, total: int | None) -> None:
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
