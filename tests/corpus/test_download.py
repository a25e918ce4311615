import bz2
import gzip
import hashlib
import io
import lzma
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from asr.corpus.download import download, unpack
from asr.errors import InputError

CONTENT = np.random.default_rng(0).bytes(300_000)


@pytest.fixture
def server():
    """A local web server; its attributes set how it answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.ranges.append(self.headers.get("Range"))
            if self.path != "/file":
                self.send_error(404)
                return
            start = 0
            same = self.headers.get("If-Range", server.mark) == server.mark
            if server.knows_ranges and same and (asked := self.headers.get("Range")):
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(CONTENT):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
                self.send_header("Content-Length", "0")
                self.send_header("ETag", server.mark)
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                last = len(CONTENT) - 1
                self.send_header("Content-Range", f"bytes {start}-{last}/{len(CONTENT)}")
            self.send_header("Content-Length", server.length or str(len(CONTENT) - start))
            if server.mark:
                self.send_header("ETag", server.mark)
            self.end_headers()
            self.wfile.write(server.content[start : start + server.sends_at_most])

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.knows_ranges = True
    server.content, server.mark = CONTENT, '"first"'
    server.sends_at_most = len(CONTENT)
    server.length = ""  # by default the true one
    server.ranges = []
    server.url = f"http://127.0.0.1:{server.server_port}/file"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_complete_file_is_not_downloaded_again(server, tmp_path):
    path = tmp_path / "new" / "file"
    checksum = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    assert download(server.url, path, checksum) == path
    assert path.read_bytes() == CONTENT
    download(server.url, path, checksum)
    assert server.ranges == [None]
    assert list(path.parent.iterdir()) == [path]


def test_a_length_that_is_no_number_counts_as_none(server, tmp_path):
    server.length = "many"
    assert download(server.url, tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_an_interrupted_download_resumes_or_starts_anew(server, tmp_path, knows_ranges):
    path = tmp_path / "file"
    server.sends_at_most = 100_000
    with pytest.raises(InputError, match="ended after 100000 of 300000 bytes; what came is kept"):
        download(server.url, path)
    assert not path.exists()

    server.sends_at_most = len(CONTENT)
    server.knows_ranges = knows_ranges
    download(server.url, path)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("asks", [True, False], ids=["If-Range known", "If-Range unknown"])
def test_a_file_that_changed_on_the_server_is_downloaded_anew(server, tmp_path, asks, monkeypatch):
    path = tmp_path / "file"
    server.sends_at_most = 100_000
    with pytest.raises(InputError, match="what came is kept"):
        download(server.url, path)
    server.sends_at_most = len(CONTENT)
    server.content = CONTENT[::-1]
    if asks:
        server.mark = '"second"'
    else:  # the server resumes with another file, and sends its mark
        marks = iter(['"second"'] * 2)
        monkeypatch.setattr("asr.corpus.download._mark", lambda _: next(marks))
    assert download(server.url, path).read_bytes() == CONTENT[::-1]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("checksum", ["", f"md5:{hashlib.md5(CONTENT).hexdigest()}"])
def test_without_a_version_mark_only_a_checksum_allows_resuming(server, tmp_path, checksum):
    server.mark = ""
    server.sends_at_most = 100_000
    with pytest.raises(InputError, match="what came is kept"):
        download(server.url, tmp_path / "file", checksum)
    server.sends_at_most = len(CONTENT)
    assert download(server.url, tmp_path / "file", checksum).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-" if checksum else None]


def test_a_complete_partial_file_is_used(server, tmp_path):
    (tmp_path / "file.partial").write_bytes(CONTENT)
    (tmp_path / "file.partial.mark").write_text(server.mark)
    assert download(server.url, tmp_path / "file").read_bytes() == CONTENT
    assert server.ranges == ["bytes=300000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_too_long_partial_file_is_downloaded_anew(server, tmp_path):
    (tmp_path / "file.partial").write_bytes(CONTENT + b"more")
    (tmp_path / "file.partial.mark").write_text(server.mark)
    assert download(server.url, tmp_path / "file").read_bytes() == CONTENT
    assert server.ranges == ["bytes=300004-", None]


def test_a_file_with_a_wrong_checksum_is_refused_and_removed(server, tmp_path):
    found = hashlib.sha256(CONTENT).hexdigest()
    with pytest.raises(InputError, match=f"file: sha256 is {found}; expected 00; removed"):
        download(server.url, tmp_path / "file", "sha256:00")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_page_is_named(server, tmp_path):
    with pytest.raises(InputError, match="file2: the server answers 404 Not Found"):
        download(server.url + "2", tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_server_is_named(server, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(InputError, match=f"{server.url}: .*refused"):
        download(server.url, tmp_path / "file")


def pack(path, members):
    """Write a .tar.gz with members given as (name, content) or as TarInfo."""
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return path


def test_an_archive_is_unpacked_with_its_folders(tmp_path):
    archive = pack(tmp_path / "a.tar.gz", [("c/etc/x", b"1"), ("./c/y", b"2")])
    unpack(archive, tmp_path / "a")
    assert (tmp_path / "a/c/etc/x").read_bytes() == b"1"
    assert (tmp_path / "a/c/y").read_bytes() == b"2"


def test_unpacking_is_the_same_without_pythons_extraction_filters(tmp_path, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    test_an_archive_is_unpacked_with_its_folders(tmp_path)
    archive = pack(tmp_path / "b.tar.gz", [("../evil", b"1")])
    with pytest.raises(InputError, match="lies outside"):
        unpack(archive, tmp_path / "b")


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (("../evil", b"x"), r"member '\.\./evil' lies outside"),
        (("c/../../evil", b"x"), "lies outside"),
        (("/tmp/evil", b"x"), "member '/tmp/evil' lies outside"),
        (special("c/link", tarfile.SYMTYPE, "/etc/passwd"), "'c/link' is a link or a device"),
        (special("c/link", tarfile.SYMTYPE, "inside"), "is a link or a device"),
        (special("c/link", tarfile.LNKTYPE, "c/good"), "is a link or a device"),
        (special("c/null", tarfile.CHRTYPE), "is a link or a device"),
        (special("c/pipe", tarfile.FIFOTYPE), "is a link or a device"),
    ],
)
def test_unsafe_members_are_refused_without_leaving_files(tmp_path, member, message):
    archive = pack(tmp_path / "a.tar.gz", [("c/good", b"1"), member])
    with pytest.raises(InputError, match=message):
        unpack(archive, tmp_path / "a")
    assert list(tmp_path.iterdir()) == [archive]


def test_truncated_archives_are_refused_without_leaving_files(tmp_path):
    archive = pack(tmp_path / "a.tar.gz", [("c/good", CONTENT), ("c/other", CONTENT)])
    archive.write_bytes(archive.read_bytes()[:400_000])
    with pytest.raises(InputError, match=r"a\.tar\.gz: can't be unpacked"):
        unpack(archive, tmp_path / "a")
    assert list(tmp_path.iterdir()) == [archive]


@pytest.mark.parametrize("content", [b"<html>not found</html>", gzip.compress(b"no tar"), b""])
def test_files_that_are_not_archives_are_refused(tmp_path, content):
    (tmp_path / "a.tar.gz").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.tar\.gz: can't be unpacked"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "a")


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz"])
@pytest.mark.parametrize("place", [-3, -6])
def test_a_wrong_byte_after_the_end_mark_is_found(tmp_path, suffix, place):
    plain = pack(tmp_path / "a.tar.gz", [("c/good", CONTENT)])
    content = gzip.decompress(plain.read_bytes())
    packers = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    packed = bytearray(packers[suffix](content))
    archive = tmp_path / f"b.tar.{suffix}"
    archive.write_bytes(packed)
    unpack(archive, tmp_path / "whole")
    assert (tmp_path / "whole/c/good").read_bytes() == CONTENT
    packed[place] ^= 1
    archive.write_bytes(packed)
    with pytest.raises(InputError, match=rf"b\.tar\.{suffix}: can't be unpacked"):
        unpack(archive, tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == [plain.name, archive.name, "whole"]


def test_too_large_archives_are_refused_without_leaving_files(tmp_path, monkeypatch):
    archive = pack(tmp_path / "a.tar.gz", [("zeros", bytes(300_000_000))])
    with pytest.raises(InputError, match=r"a\.tar\.gz: unpacks to more than 100,000,000 bytes"):
        unpack(archive, tmp_path / "a")
    monkeypatch.setattr("asr.corpus.download.MAX_FILES", 3)
    archive = pack(tmp_path / "a.tar.gz", [(str(n), b"x") for n in range(4)])
    with pytest.raises(InputError, match=r"a\.tar\.gz: has more than 3 members"):
        unpack(archive, tmp_path / "a")
    assert list(tmp_path.iterdir()) == [archive]
