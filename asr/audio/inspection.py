"""The bytes of an audio file -> the recordings in it, in order."""

from dataclasses import replace

from asr.audio import flac, matroska, media, mpeg, ogg, plain, voc, wav
from asr.audio.container import Part, skip_tags, without_ape_tag
from asr.audio.content import View

_FORMATS = (
    *wav.FORMATS,
    *plain.FORMATS,
    *voc.FORMATS,
    *flac.FORMATS,
    *ogg.FORMATS,
    *matroska.FORMATS,
    *media.FORMATS,
    *mpeg.FORMATS,
)


def inspect(view: View) -> list[Part]:
    """The recordings in a file, in order. A file of an unknown format counts as one recording.

    WAV, AIFF, CAF, AU, NIST sphere, VOC: the bytes of samples are found and counted. Ogg: pages
    must follow each other and have correct checksums, and each stream must end where its packets
    do. MPEG audio: frames are counted and must follow each other. FLAC: frames must follow each
    other, the last gives the number of samples. Files joined end to end are found in all of these
    formats, in MP4 and in Matroska. Placeholder sizes, which programs write into a pipe, count as
    unknown.

    Args:
        view: bytes of the file, at least one.

    Raises:
        InputError: the file is cut short or damaged.
    """
    parts: list[Part] = []
    start, is_after_tag = 0, False
    view = without_ape_tag(view)
    if not any(begins(view, 0) for begins, _ in (*wav.FORMATS, *plain.FORMATS, *voc.FORMATS)):
        view = view.without_trailing_zeros()  # some files end with gigabytes of zeros
        if hole := view.first_hole():
            raise view.fault(
                f"is damaged: {len(hole)} bytes from byte {hole.start} on were never written;"
                " expected audio there"
            )
    while start < view.size:
        rest = view.part(start, view.size) if start else view
        examine = next((examine for begins, examine in _FORMATS if begins(rest, 0)), None)
        if examine is None:
            position = skip_tags(rest, 0) if parts or rest.bytes_at(0, 1) != b"\0" else 0
            if position:
                start += position
                is_after_tag = True
                continue
            is_mpeg = (start == 0 or is_after_tag) and mpeg.follows_other_bytes(rest)
            if parts and not is_mpeg:
                if view.run_end(start) < view.size:  # no padding
                    parts[-1] = replace(parts[-1], n_unread=view.size - start)
                break
            if not start and not is_mpeg:
                break  # the decoder decides
            examine = mpeg.examine  # after an ID3 tag: part of a longer MPEG stream
        part, end = examine(rest)
        parts.append(part)
        start += end
        is_after_tag = False
    if start and not parts:
        raise view.fault(f"is cut short: its {view.size} bytes end within a tag; expected audio")
    return parts or [Part(view)]
