"""Creative Voice (VOC) -> the bytes of its samples, behind the header of a WAV file.

libsndfile reads the headers of a second and later blocks as sound, and a file that is cut short
without an error.
"""

import struct
from typing import NamedTuple

from asr.audio.container import Format, Part, PartAndEnd, check_header, cut_short, skip_tags
from asr.audio.content import View
from asr.audio.signatures import begins_audio, unpack

_MAGIC = b"Creative Voice File\x1a"
_SOUND, _CONTINUATION, _SILENCE, _EXTENSION, _SOUND_16 = 1, 2, 3, 8, 9
_MAX_KIND = 9
_MAX_SILENCE = 1 << 28  # bytes, since a block of 7 bytes stands for up to 65536 samples
_CODINGS = {  # by the number in VOC: format number in WAV, bits, one sample of silence
    0: (1, 8, b"\x80"),
    4: (1, 16, b"\0\0"),
    6: (6, 8, b"\xd5"),
    7: (7, 8, b"\xff"),
}


class _Form(NamedTuple):
    rate: int  # in Hz
    channels: int
    coding: int


def _begins(view: View, position: int) -> bool:
    return view.bytes_at(position, len(_MAGIC)) == _MAGIC


def _voc(view: View) -> PartAndEnd:
    """Blocks, each with its kind and size, up to a block of kind 0 or the end of the file."""
    start, version = unpack("<HH", view, 20)
    position = max(start, 26)
    form: _Form | None = None
    extension: _Form | None = None
    found: list[range | float] = []  # positions of samples, or seconds of silence
    while position < view.size and (kind := view.bytes_at(position, 1)[0]):
        if kind > _MAX_KIND:
            if begins_audio(view, skip_tags(view, position)):
                break  # the last block is optional
            raise view.fault(f"is damaged at byte {position}: expected a VOC block")
        content, end = position + 4, _block_end(view, position, version)
        if kind in (_SOUND, _SOUND_16):
            is_16 = kind == _SOUND_16
            new = _form_16(view, content) if is_16 else extension or _form(view, content)
            if form not in (None, new):
                raise view.fault(f"changes to another format at byte {position}; expected one")
            form, extension = new, None
            found.append(range(min(end, content + (12 if is_16 else 2)), end))
        elif kind == _CONTINUATION:
            found.append(range(content, end))
        elif kind == _SILENCE:
            length, divisor = unpack("<HB", view, content)
            found.append((length + 1) * (256 - divisor) / 1e6)
        elif kind == _EXTENSION:
            extension = _extension(view, content)
        position = end
    if form is None:
        raise view.fault("holds 0 samples: it has no block of samples; expected at least one")
    check_header(view, form.rate, form.channels)
    end = min(position + 1, view.size) if view.bytes_at(position, 1) == b"\0" else position
    if form.coding not in _CODINGS:  # ADPCM
        return Part(view.part(0, end), needs_ffmpeg=True), end
    return _as_wav(view, form, found), end


def _block_end(view: View, position: int, version: int) -> int:
    """End of the block at `position`, after corrections for errors of two programs."""
    kind, size = view.bytes_at(position, 1)[0], view.bytes_at(position + 1, 3)
    end = position + 4 + int.from_bytes(size, "little")
    if len(size) < 3 or end > view.size:
        raise cut_short(view, int.from_bytes(size, "little"), max(0, view.size - position - 4))
    if kind != _SOUND_16:
        return end
    after_8 = view.bytes_at(end + 8, 9)
    if version == 0x010A and (after_8 == b"\0" or after_8[:9] == b"\0" + _MAGIC[:8]):
        return end + 8  # sox counts 4 of the 12 bytes before the samples
    coding = unpack("<H", view, position + 10)[0]
    if end == view.size and coding in (6, 7) and view.bytes_at(end - 1, 1) == b"\0":
        return end - 1  # libsndfile counts the block of kind 0 that follows
    return end


def _form(view: View, content: int) -> _Form:
    divisor, coding = unpack("<BB", view, content)
    return _Form(1_000_000 // (256 - divisor), 1, coding)


def _form_16(view: View, content: int) -> _Form:
    rate, bits, channels, coding = unpack("<IBBH", view, content)
    if coding in _CODINGS and bits != _CODINGS[coding][1]:
        raise view.fault(
            f"its header says {bits} bits in coding {coding}; expected {_CODINGS[coding][1]}"
        )
    return _Form(rate, channels, coding)


def _extension(view: View, content: int) -> _Form:
    """The format of the next block, with a better sample rate and the number of channels."""
    divisor, coding, more_channels = unpack("<HBB", view, content)
    channels = more_channels + 1
    return _Form(256_000_000 // (channels * (65536 - divisor)), channels, coding)


def _as_wav(view: View, form: _Form, found: list[range | float]) -> Part:
    code, bits, silent = _CODINGS[form.coding]
    align = len(silent) * form.channels
    pieces: list[bytes | range] = []
    n_silent = 0
    for piece in found:
        if isinstance(piece, range):
            pieces += view.part(piece.start, piece.stop).pieces
            continue
        n_samples = round(piece * form.rate)
        n_silent += n_samples * align
        if n_silent > _MAX_SILENCE:
            raise view.fault(f"has more than {_MAX_SILENCE >> 20} MB of silence in its header")
        pieces.append(silent * form.channels * n_samples)
    samples = View(view.file, view.path, pieces)
    n_bytes = min(samples.size, 0xFFFFFF00)  # a wrong size is corrected by `sample_bytes`
    header = struct.pack("<4sI4s4sI", b"RIFF", n_bytes + 36, b"WAVE", b"fmt ", 16)
    rate, channels = form.rate, form.channels
    header += struct.pack("<HHIIHH", code, channels, rate, rate * align, align, bits)
    header += struct.pack("<4sI", b"data", n_bytes)
    return Part(View(view.file, view.path, [header, *pieces]), samples)


FORMATS: tuple[Format, ...] = ((_begins, _voc),)
