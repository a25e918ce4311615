"""Texts <-> subword pieces: byte-pair encoding trained with sentencepiece."""

import base64
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import sentencepiece

from asr.errors import InputError

WORD_START = "▁"
"""Replaces the space before a word; the first piece of every word begins with it."""


@dataclass(frozen=True)
class SubwordModel:
    """A byte-pair encoding that splits words into pieces.

    Args:
        proto: the model in sentencepiece's format.

    Raises:
        ValueError: `proto` is not a sentencepiece model.

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
        """Train a model: merge the most frequent pair of neighbouring pieces, again and again.

        Every character of the texts is a piece too. The same texts give the same model.

        Args:
            texts: normalised texts, words separated by one space.
            n_pieces: number of pieces.

        Raises:
            InputError: the number is impossible for these texts; the message has the smallest or
                largest possible number.
            ValueError: `n_pieces` is below 1.
        """
        if n_pieces < 1:
            raise ValueError(f"n_pieces is {n_pieces}; expected 1 or more")
        characters: set[str] = set()
        faults: list[Exception] = []  # raised by `texts`; sentencepiece 0.2.0 hides them
        out = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=_checked(texts, characters, faults),
                model_writer=out,
                model_type="bpe",
                vocab_size=n_pieces + 1,  # plus sentencepiece's unknown piece
                character_coverage=1.0,
                normalization_rule_name="identity",
                bos_id=-1,
                eos_id=-1,
                split_by_unicode_script=False,
                split_by_number=False,
                max_sentence_length=2**30,  # its maximum; longer texts are silently dropped
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
                    f"n_pieces is {n_pieces}; the texts have {smallest} characters including the"
                    f" space, each a piece; expected {smallest} or more"
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
        """The model from the output of `to_text`.

        Raises:
            ValueError: the text is not an output of `to_text`.
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
        """All pieces in the order of their merges; single characters come last."""
        size = self._processor.get_piece_size()
        pieces = [self._processor.id_to_piece(number) for number in range(size)]
        return tuple(piece for n, piece in enumerate(pieces) if n != self._processor.unk_id())

    def encode(self, text: str) -> list[str]:
        """Split a text into pieces; unknown characters become single pieces.

        Args:
            text: normalised like the training texts.

        Raises:
            InputError: the text has the character that replaces the space.
        """
        _refuse_sign(text)
        pieces = self._processor.encode(text, out_type=str)
        # sentencepiece joins neighbouring unknown characters to one piece
        return [part for piece in pieces for part in ([piece] if piece in self._known else piece)]

    def decode(self, pieces: Sequence[str]) -> str:
        """Join pieces to a text, the inverse of `encode`."""
        return "".join(pieces).replace(WORD_START, " ").removeprefix(" ")

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.pieces)

    @cached_property
    def _processor(self) -> sentencepiece.SentencePieceProcessor:
        return sentencepiece.SentencePieceProcessor(model_proto=self.proto)


_NO_MODEL = "the subword model is damaged; expected a sentencepiece model in base64"


def _checked(texts: Iterable[str], characters: set[str], faults: list[Exception]) -> Iterator[str]:
    """Yield the texts and collect their characters; collect the error if a text fails."""
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
            f"{text[:60]!r} has {WORD_START!r} (U+2581), which replaces the space in pieces;"
            " expected a text without it"
        )
