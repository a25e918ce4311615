"""Texts <-> subword pieces: byte-pair encoding, learned from texts by sentencepiece."""

import base64
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import sentencepiece

from asr.errors import InputError

WORD_START = "▁"
"""Stands for the blank before a word; the first piece of every word begins with it."""


@dataclass(frozen=True)
class SubwordModel:
    """Pieces of words, frequent ones in one piece.

    Args:
        proto: the model as sentencepiece writes it.

    Raises:
        ValueError: `proto` is no model of sentencepiece.

    Source: Sennrich et al. 2016, arXiv:1508.07909; Kudo & Richardson 2018, arXiv:1808.06226.
    """

    proto: bytes

    def __post_init__(self) -> None:
        try:
            if self.proto and self._processor.get_piece_size() > 1:
                return
        except RuntimeError:
            pass
        raise ValueError(_NO_MODEL)

    @classmethod
    def train(cls, texts: Iterable[str], n_pieces: int) -> "SubwordModel":
        """The pieces that joining the most frequent neighbours again and again gives.

        Every character of the texts is a piece too. The same texts give the same model.

        Args:
            texts: normalised, words separated by one blank.
            n_pieces: how many pieces.

        Raises:
            InputError: the texts have fewer or more pieces than that to give; the message has the
                smallest or largest number that they can give.
            ValueError: `n_pieces` is below 1.
        """
        if n_pieces < 1:
            raise ValueError(f"n_pieces is {n_pieces}; expected 1 or more")
        characters: set[str] = set()
        faults: list[Exception] = []  # of the texts; sentencepiece 0.2.0 loses them
        out = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=_checked(texts, characters, faults),
                model_writer=out,
                model_type="bpe",
                vocab_size=n_pieces + 1,  # and sentencepiece's own piece for what is unknown
                character_coverage=1.0,
                normalization_rule_name="identity",
                bos_id=-1,
                eos_id=-1,
                split_by_unicode_script=False,
                split_by_number=False,
                max_sentence_length=2**30,  # the most it takes; longer would be dropped in silence
                num_threads=1,
                minloglevel=2,
            )
        except RuntimeError as error:
            if faults:
                raise faults[0] from None
            if not characters:
                raise InputError("the texts have no word; expected at least one") from None
            smallest = len(characters | {WORD_START})
            if n_pieces < smallest:
                raise InputError(
                    f"n_pieces is {n_pieces}; the texts have {smallest} characters (the blank is"
                    f" one), each a piece: expected {smallest} or more"
                ) from None
            if found := re.search(r"too high .* <= (\d+)", str(error)):
                raise InputError(
                    f"n_pieces is {n_pieces}; the texts give at most {int(found[1]) - 1}"
                ) from None
            raise
        if faults:
            raise faults[0]
        return cls(out.getvalue())

    @classmethod
    def from_text(cls, text: str) -> "SubwordModel":
        """The model that `to_text` wrote.

        Raises:
            ValueError: the text is not from there.
        """
        try:
            proto = base64.b64decode(text, validate=True)
        except ValueError:
            raise ValueError(_NO_MODEL) from None
        return cls(proto)

    def to_text(self) -> str:
        """The model as one line of ASCII, for JSON."""
        return base64.b64encode(self.proto).decode("ascii")

    @cached_property
    def pieces(self) -> tuple[str, ...]:
        """All pieces, in the order in which they were joined, single characters last."""
        size = self._processor.get_piece_size()
        pieces = [self._processor.id_to_piece(number) for number in range(size)]
        return tuple(piece for n, piece in enumerate(pieces) if n != self._processor.unk_id())

    def encode(self, text: str) -> list[str]:
        """The pieces of a text; characters that the model has not seen are pieces of their own.

        Args:
            text: normalised as the texts were that the model was trained on.

        Raises:
            InputError: the text has the sign that stands for the blank.
        """
        _refuse_sign(text)
        pieces = self._processor.encode(text, out_type=str)
        # sentencepiece gives unknown characters that follow each other as one piece
        return [part for piece in pieces for part in ([piece] if piece in self._known else piece)]

    def decode(self, pieces: Sequence[str]) -> str:
        """The text of the pieces: what `encode` was given."""
        return "".join(pieces).replace(WORD_START, " ").removeprefix(" ")

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.pieces)

    @cached_property
    def _processor(self) -> sentencepiece.SentencePieceProcessor:
        return sentencepiece.SentencePieceProcessor(model_proto=self.proto)


_NO_MODEL = "the pieces' model is damaged; expected a model of sentencepiece, as base64 in a text"


def _checked(texts: Iterable[str], characters: set[str], faults: list[Exception]) -> Iterator[str]:
    """The texts as they come, until one fails; gathers their characters, without blanks."""
    try:
        for text in texts:
            _refuse_sign(text)
            characters.update(*text.split())
            yield text
    except Exception as error:
        faults.append(error)


def _refuse_sign(text: str) -> None:
    if WORD_START in text:
        raise InputError(
            f"{text[:60]!r} has {WORD_START!r} (U+2581), which stands for the blank in pieces;"
            " expected a text without it"
        )
