"""Prefixes and tokens -> what lexicon, language model and phrases add to the score."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from asr.contexts import Context, StatePool, TokenLM, WordLM
from asr.decoder import Decoder
from asr.tokenizer import BLANK
from asr.trie import NONE, ROOT


class Arcs(NamedTuple):
    """The ways on from each prefix: with each of M tokens V ways, X = M * V together."""

    n_outcomes: int  # V
    nodes: Tensor | None = None  # (N, K, X), of the lexicon; NONE where there is no way
    words: Tensor | None = None  # (N, K, X), the words that end; NONE where none does


class Gains(NamedTuple):
    """What the ways on add, (N, K, X)."""

    score: Tensor  # float64, nats; -inf where there is no way, or none that would be kept
    lm: Tensor | None = None  # float64, the language model's log-probability
    numbers: Tensor | None = None  # where in `states` those after a word lie
    states: Tensor | None = None


class Choice(NamedTuple):
    """The prefixes and extensions that are kept, (N, K)."""

    place: Tensor  # the place among K prefixes and then K * X extensions
    slot: Tensor  # the prefix, be it extended or not
    arc: Tensor  # the place among the K * X extensions, where it is one
    token: Tensor  # what the prefix is extended with, where it is
    new: Tensor  # bool, whether it is
    possible: Tensor  # bool, whether it is anything: a beam may have room left


class Fusion:
    """All that one search asks of lexicon, language model and phrases.

    Args:
        decoder: holds them.
        N: utterances.
        device: of the search.
    """

    def __init__(self, decoder: Decoder, N: int, device: torch.device) -> None:
        self.settings = settings = decoder.settings
        self.separator = decoder.tokenizer.separator
        self.trie = None if decoder.lexicon is None else decoder.lexicon.to(device)
        self.boosts = None if decoder.boosts is None else decoder.boosts.to(device)
        self.token_lm: TokenLM | None = None
        self.word_lm: WordLM | None = None
        if decoder.lm is not None and decoder.units is not None:
            units, size = decoder.units.to(device), N * settings.beam_width
            if decoder.scores_words:
                self.word_lm = WordLM(decoder.lm, units, size)
            else:
                self.token_lm = TokenLM(decoder.lm, units, size)
        if self.trie is not None:
            ahead = torch.zeros(len(self.trie.parents)) if decoder.ahead is None else decoder.ahead
            self._ahead = settings.lm_weight * ahead.to(device, torch.float64)
            n_words = len(self.trie.words)
            # for each word, for all others, for none
            bonuses = torch.full((n_words + 2,), settings.word_bonus, dtype=torch.float64)
            bonuses[n_words] += settings.unk_bonus
            bonuses[NONE] = 0.0
            self._bonuses = bonuses.to(device)

    @property
    def pool(self) -> StatePool | None:
        """The language model's states."""
        lm = self.token_lm or self.word_lm
        return None if lm is None else lm.pool

    def start(self, like: Tensor) -> Context:
        """What is known of empty prefixes, (N, K) as `like` is, which is int64."""
        zeros = torch.zeros_like(like)
        context = {"score": zeros.double()}
        if self.trie is not None:
            context |= {"node": zeros + ROOT, "word": zeros + NONE, "outcome": zeros}
        if self.boosts is not None:
            context |= {"phrase": zeros + self.boosts.start}
        for lm in (self.token_lm, self.word_lm):
            if lm is not None:
                context |= lm.start(like)
        return context

    def arcs(self, context: Context, tokens: Tensor) -> Arcs:
        """The ways on with tokens, (N, M)."""
        if self.trie is None:
            return Arcs(1)
        nodes, words = self.trie.outcomes(context["node"], tokens)
        return Arcs(nodes.shape[2] // tokens.shape[1], nodes, words)

    def gains(
        self, context: Context, last: Tensor, tokens: Tensor, arcs: Arcs, reach: Tensor
    ) -> Gains:
        """What the ways on add to the score.

        The language model only takes from a score. Where too little is left without it already, it
        is not asked.

        Args:
            context: of the prefixes; brought up to date.
            last: (N, K), their last tokens.
            tokens: (N, M), the next.
            arcs: the ways on.
            reach: (N, K, X), nats that a way may lose and still be kept.
        """
        score = self._without_lm(context, last, tokens, arcs)
        if self.token_lm is None and self.word_lm is None:
            return Gains(score)
        needed = (score + reach >= 0) & (score > -math.inf)
        numbers = states = None
        if self.word_lm is not None:
            assert arcs.words is not None
            ends = needed & (arcs.words != NONE)
            lm, numbers, states = self.word_lm.score(context, arcs.words, ends)
        else:
            assert self.token_lm is not None
            lm = self.token_lm.score(context, last, tokens, needed.any(2))
            lm = lm.repeat_interleave(arcs.n_outcomes, 2)
        score = torch.where(needed, score + self._weighted(lm), -math.inf)
        return Gains(score, lm, numbers, states)

    def advance(self, context: Context, arcs: Arcs, gains: Gains, choice: Choice) -> Context:
        """What is known of the prefixes that are kept, and of the new ones among them."""
        slot, new = choice.slot, choice.new
        kept = {name: known.gather(1, slot) for name, known in context.items()}

        def taken(name: str, ways: Tensor) -> None:
            kept[name] = torch.where(new, ways.flatten(1).gather(1, choice.arc), kept[name])

        taken("score", context["score"][:, :, None] + gains.score)
        if self.trie is not None and arcs.nodes is not None and arcs.words is not None:
            taken("node", arcs.nodes)
            taken("word", arcs.words)
            kept["outcome"] = torch.where(new, choice.arc % arcs.n_outcomes, kept["outcome"])
        if self.boosts is not None:
            after = self.boosts.after[kept["phrase"], choice.token].long()
            kept["phrase"] = torch.where(new, after, kept["phrase"])
        if gains.lm is not None:
            taken("lm", context["lm"][:, :, None] + gains.lm)
        if self.token_lm is not None:
            kept["unread"] = kept["unread"] | new
        if self.word_lm is not None and gains.states is not None:
            assert gains.numbers is not None
            number = gains.numbers.flatten(1).gather(1, choice.arc)
            place = (new & (number != NONE)).nonzero(as_tuple=True)
            rows = self.word_lm.pool.add(gains.states[number[place]])
            kept["row"] = kept["row"].index_put(place, rows)
        return kept

    def end(
        self, context: Context, last: Tensor, alive: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """What the utterance's end makes of the prefixes: V outcomes each.

        Where no prefix ends with a whole word, all stay, without what they have begun.

        Args:
            context: of the prefixes; brought up to date.
            last: (N, K), their last tokens.
            alive: (N, K), which there are.

        Returns:
            score: (N, K, V), float64, all but the acoustic part; -inf where there is no outcome.
            lm: (N, K, V), float64, the language model's log-probability of the whole.
            words: (N, K, V), the word that ends there.
        """
        score, possible, words = context["score"][:, :, None], alive[:, :, None], None
        if self.boosts is not None:
            score = score + self.boosts.end[context["phrase"]][:, :, None]
        if self.trie is not None:
            nodes, words = self._last_words(context["node"])
            possible = possible & (nodes != NONE)
            stuck = ~possible.flatten(1).any(1)
            possible[:, :, 0] |= alive & stuck[:, None]
            score = score - self._ahead[context["node"]][:, :, None] + self._bonuses[words]
        if self.word_lm is not None:
            assert words is not None
            lm = self.word_lm.end(context, words, possible)
        elif self.token_lm is not None:
            lm = self.token_lm.end(context, last, alive)[:, :, None].expand_as(possible)
        else:
            return torch.where(possible, score, -math.inf), None, words
        score = torch.where(possible, score + self._weighted(lm), -math.inf)
        return score, context["lm"][:, :, None] + lm, words

    def _without_lm(self, context: Context, last: Tensor, tokens: Tensor, arcs: Arcs) -> Tensor:
        """(N, K, X): look-ahead, bonuses and boosts; -inf where there is no way."""
        score = torch.zeros((), dtype=torch.float64, device=last.device)
        if self.boosts is not None:
            phrase = context["phrase"][:, :, None]
            after = self.boosts.after[phrase, tokens[:, None]].long()
            score = score + self.boosts.worth[after] - self.boosts.lent[phrase]
        if arcs.nodes is None or arcs.words is None:
            begins = self._word_begins(last, tokens).double()
            return score + self.settings.word_bonus * begins
        score = score.expand(*last.shape, tokens.shape[1]).repeat_interleave(arcs.n_outcomes, 2)
        score = score + self._ahead[arcs.nodes] - self._ahead[context["node"]][:, :, None]
        score = score + self._bonuses[arcs.words]
        return torch.where(arcs.nodes == NONE, -math.inf, score)

    def _word_begins(self, last: Tensor, tokens: Tensor) -> Tensor:
        """(N, K, M), bool: whether a token begins a word, where there is no lexicon."""
        if self.separator is None:
            return torch.ones_like(last, dtype=torch.bool)[:, :, None].expand(
                -1, -1, tokens.shape[1]
            )
        apart = (last == self.separator) | (last == BLANK)
        return apart[:, :, None] & (tokens != self.separator)[:, None]

    def _last_words(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """(N, K, V), (N, K, V): nodes and words of the utterance's end, as of `Trie.outcomes`."""
        assert self.trie is not None
        if self.separator is not None:
            return self.trie.outcomes(nodes, torch.full_like(nodes[:, :1], self.separator))
        nodes = nodes[:, :, None]
        return torch.where(nodes == ROOT, ROOT, NONE), torch.full_like(nodes, NONE)

    def _weighted(self, lm: Tensor) -> Tensor:
        # 0 times -inf is no number
        weight = self.settings.lm_weight
        return weight * lm if weight else torch.zeros_like(lm)
