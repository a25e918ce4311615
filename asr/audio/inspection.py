"""The bytes of an audio file -> its parts, from the first to the last."""

from dataclasses import replace

from asr.audio import flac, matroska, media, mpeg, ogg, plain, wav
from asr.audio.container import Part, behind_tags, without_ape
from asr.audio.content import View

_FORMATS = (
    *wav.FORMATS,
    *plain.FORMATS,
    *flac.FORMATS,
    *ogg.FORMATS,
    *matroska.FORMATS,
    *media.FORMATS,
    *mpeg.FORMATS,
)


def inspect(view: View) -> list[Part]:
    """The recordings in a file, in order; a file of an unknown format counts as one.

    WAV, AIFF, CAF, AU, NIST sphere: the bytes of samples are found, and counted. Ogg: pages follow
    each other, have their checksums, and each stream ends. MPEG audio: frames follow each other,
    and are counted. FLAC: the last frame says where it stands. Joined files are found in all of
    these, in MP4 and in Matroska. Sizes that programs write into a pipe count as unknown.

    Args:
        view: of at least one byte.

    Raises:
        InputError: the file is cut short or damaged.
    """
    parts: list[Part] = []
    start = 0
    view = without_ape(view)
    if not any(begins(view, 0) for begins, _ in (*wav.FORMATS, *plain.FORMATS)):
        view = view.without_zeros()  # of which some files have gigabytes
        if hole := view.hole():
            raise view.fault(
                f"is damaged: {len(hole)} bytes from byte {hole.start} on were never written;"
                " expected audio there"
            )
    while start < view.size:
        rest = view.part(start, view.size) if start else view
        examine = next((examine for begins, examine in _FORMATS if begins(rest, 0)), None)
        if examine is None:
            position = behind_tags(rest, 0) if parts or rest.bytes_at(0, 1) != b"\0" else 0
            if position:
                start += position
                continue
            if parts:
                if view.run_end(start) < view.size:  # no padding
                    parts[-1] = replace(parts[-1], n_unread=view.size - start)
                break
            if not start:
                break  # the decoder tells
            examine = mpeg.examine  # a stream that was cut from a longer one, behind ID3
        part, end = examine(rest)
        parts.append(part)
        start += end
    if start and not parts:
        raise view.fault(f"is cut short: its {view.size} bytes end within a tag; expected audio")
    return parts or [Part(view)]
