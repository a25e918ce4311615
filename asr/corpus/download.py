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
"""Members that an archive may have."""

MAX_GROWTH = 100
"""By how much an archive may grow when it is unpacked; a small one to 100 MB in any case."""


def download(url: str, path: Path, checksum: str = "") -> Path:
    """Fetch a file; one that was cut short earlier goes on from `path` + ".partial".

    It goes on only with what is still the same: the server is asked by the mark (ETag, or the date
    of its last change) that it gave then, which is kept beside. Without one the file is fetched
    anew, unless a checksum will tell.

    Args:
        url: of the file, http or https.
        path: where it goes; there is never an incomplete file of this name.
        checksum: "md5:..." or "sha256:..." in hexadecimal; empty if none is published.

    Returns:
        path: the same.

    Raises:
        InputError: the server refuses, the connection breaks, the file is shorter than announced
            (what came is kept: run again to go on), or the checksum differs (what came is removed).
        OSError: what comes can't be written.
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
        if isinstance(error, OSError) and error.filename is not None:  # of the file here
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
    """Unpack a tar archive, wholly or not at all, into a new folder.

    It is read to the end of the compressed file, whose checksum stands behind the tar's end mark.

    Raises:
        InputError: it can't be read to its end; a member is no plain file or folder (links,
            devices) or would lie outside of the folder; or it has more files, or grows more, than
            corpora do. Nothing is left of it.
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
    """What has come of a file, and by which mark of the server it may go on.

    Args:
        path: of the file, once all of it has come.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".partial")
        self._mark = path.with_name(path.name + ".partial.mark")

    @property
    def mark(self) -> str:
        """The server's ETag or date; empty without one."""
        return read_text(self._mark) if self._mark.exists() else ""

    @property
    def size(self) -> int:
        """Bytes that have come."""
        return self.path.stat().st_size if self.path.exists() else 0

    def begin(self, mark: str) -> None:
        """Forget what has come, and keep the mark of what will."""
        self.remove()
        if mark:
            write_text(self._mark, mark)

    def remove(self) -> None:
        """Leave nothing of it."""
        self.path.unlink(missing_ok=True)
        self._mark.unlink(missing_ok=True)


class Bounded:
    """A stream that ends in an error where more comes out of it than may.

    Args:
        stream: decompressed.
        most: bytes.
        archive: what it is of, for the error's line.
    """

    def __init__(self, stream: BinaryIO, most: int, archive: Path) -> None:
        self._stream, self._left, self._archive = stream, most, archive
        self._line = f"{archive}: unpacks to more than {most:,} bytes, {MAX_GROWTH} times its size"

    def read(self, size: int) -> bytes:
        """At most so many bytes.

        Raises:
            InputError: they are too many.
        """
        block = self._stream.read(min(size, self._left + 1))
        self._left -= len(block)
        if self._left < 0:
            raise InputError(f"{self._line}; expected recordings or texts")
        return block


def _extract(stream: Bounded, archive: Path, folder: Path) -> None:
    # read as it comes, so that all that is read is counted
    with tarfile.open(fileobj=cast(BinaryIO, stream), mode="r|") as tar:
        # Python has it from 3.11.4 on; what is unsafe is refused without it, too
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        for number, member in enumerate(tar):
            if number == MAX_FILES:
                raise InputError(f"{archive}: has more than {MAX_FILES:,} members")
            _refuse_unsafe(member, archive)
            tar.extract(member, folder)
            tar.members = []  # type: ignore[attr-defined]  # which it would keep


def _fetch(url: str, partial: Partial) -> None:
    start, mark = partial.size, partial.mark
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and mark:
        headers["If-Range"] = mark
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        # a server asked for what follows the end says so, and how long the file is
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
            partial.remove()  # it goes on with another file, though it was asked not to
            _fetch(url, partial)
            return
        if response.status != 206:  # the whole file: this server can't go on, or has another now
            start = 0
            partial.begin(now)
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise OSError("the server goes on at another place than asked for")
        with partial.path.open("ab") as file:
            _copy(response, file, url, start)


def _mark(response: HTTPResponse) -> str:
    """What tells a file of the server from the next one of its name; empty without it."""
    tag = response.headers.get("ETag", "")
    if tag.startswith("W/"):  # which may be the same for other bytes
        tag = ""
    return tag or response.headers.get("Last-Modified", "")


def _copy(response: HTTPResponse, file: BinaryIO, url: str, start: int) -> None:
    announced = response.headers.get("Content-Length")
    total = start + int(announced) if announced else None
    size = start
    while chunk := response.read(CHUNK):
        try:
            file.write(chunk)
        except OSError as error:
            error.filename = file.name
            raise
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
