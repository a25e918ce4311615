"""log_probs or emissions of a segment, piece by piece -> the best text so far."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from asr.decoder import Decoder, DecoderName
from asr.errors import InputError
from asr.hmm.topology import Topology
from asr.search.greedy import greedy_search
from asr.search.nbest import spelled
from asr.search.space import SearchSpace

if TYPE_CHECKING:
    from asr.search.searches import Searches


class PartialText:
    """The best text of the frames that are there, by the decoder's search without rescoring.

    Args:
        decoder: greedy or beam.
        topology: the HMM's topology; None for CTC.

    Raises:
        InputError: the decoder is flashlight.
    """

    def __init__(self, decoder: Decoder, topology: Topology | None) -> None:
        refuse_flashlight(decoder.settings.decoder)
        self._tokenizer = decoder.tokenizer
        self._start = _starter(decoder.space, topology) if decoder.space else None
        self.restart()

    def restart(self) -> None:
        """Begin another segment."""
        self._rows: list[Tensor] = []  # for greedy search, which is fast enough to begin anew
        self._searches = self._start() if self._start else None

    def feed(self, rows: Tensor) -> None:
        """Read the next frames, (T, C), or an HMM's emissions, (T, S)."""
        if self._searches:
            self._searches.feed([rows])
        else:
            self._rows.append(rows)

    def text(self) -> str:
        """The best text, if the segment ended here."""
        if self._searches:
            (nbest,) = self._searches.nbests(1)
            return spelled(nbest, self._tokenizer)[0].text if nbest else ""
        return greedy_search(torch.cat(self._rows), self._tokenizer).text if self._rows else ""


def refuse_flashlight(decoder: DecoderName) -> None:
    """Raise InputError if streams can't be recognised with the decoder of this name."""
    if decoder == "flashlight":
        raise InputError(
            "decoder is flashlight, which needs whole utterances; expected greedy or beam for a"
            " stream"
        )


def _starter(space: SearchSpace, topology: Topology | None) -> Callable[[], "Searches"]:
    """What starts a search of one segment."""
    from asr.search.searches import Searches  # takes time to import
    from asr.search.tables import make_tables

    if topology is None:
        from asr.search.beam import CTC

        return partial(Searches, space, CTC, 1, make_tables(space))
    from asr.search.hmm_beam import hmm_method

    method = hmm_method(topology, space)
    return partial(Searches, space, method, 1, make_tables(space))
