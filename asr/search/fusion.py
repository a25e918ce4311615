"""Prefixes and extensions -> the parts of the score from lexicon, language model and phrases."""

import math
from collections.abc import Iterable
from functools import reduce

import torch
from torch import Tensor

from asr.lm.vocabulary import EOS
from asr.search.extensions import Choice, Extensions, at, mixed
from asr.search.lexicon_tree import NONE, ROOT
from asr.search.lm_states import Context, TokenLM, WordLM
from asr.search.space import SearchSpace
from asr.text.subword import WORD_START
from asr.text.tokenizer import BLANK, BpeTokenizer


class Fusion:
    """The lexicon, language model and phrases of one search, and the states that they need.

    Args:
        space: the search space.
        N: number of utterances.
        device: device of the search.
    """

    def __init__(self, space: SearchSpace, N: int, device: torch.device) -> None:
        self.settings = settings = space.settings
        self.recombines = space.recombines
        self.separator = space.tokenizer.separator
        self._begins: Tensor | None = None  # (C,), with subwords: whether a token begins a word
        if isinstance(space.tokenizer, BpeTokenizer):
            begins = [symbol.startswith(WORD_START) for symbol in space.tokenizer.symbols]
            self._begins = torch.tensor(begins, device=device)
        self.trie = None if space.lexicon is None else space.lexicon.to(device)
        self.boosts = None if space.boosts is None else space.boosts.to(device)
        self.token_lm: TokenLM | None = None
        self.word_lm: WordLM | None = None
        if space.lm is not None and space.units is not None:
            units, size = space.units.to(device), N * settings.beam_width
            if space.scores_words:
                self.word_lm = WordLM(space.lm, units, size)
            else:
                self.token_lm = TokenLM(space.lm, units, size)
        if self.trie is not None:
            ahead = torch.zeros(len(self.trie.parents)) if space.ahead is None else space.ahead
            self._ahead = settings.lm_weight * ahead.to(device, torch.float64)
            # bonus for no word, for each word, and for out-of-vocabulary words
            n_words = len(self.trie.words)
            bonuses = torch.full((n_words + 2,), settings.word_bonus, dtype=torch.float64)
            bonuses[0], bonuses[-1] = 0.0, settings.word_bonus + settings.unk_bonus
            self._bonuses = bonuses.to(device)
        # upper bound of what one extension can add to the score, without bonuses taken back
        self._max_gain = max(0.0, settings.word_bonus, settings.word_bonus + settings.unk_bonus)
        if self.boosts is not None:
            self._max_gain += float(self.boosts.worth.amax())

    def make_room(self, n: int, contexts: Iterable[Context]) -> None:
        """Make room for n more language-model states, by dropping those not used in `contexts`."""
        lm = self.token_lm or self.word_lm
        if lm is not None and len(lm.pool) < n:
            lm.pool.keep(context["row"] for context in contexts)

    def start(self, like: Tensor) -> Context:
        """The context of empty prefixes; `like` is (N, K), int64."""
        zeros = torch.zeros_like(like)
        context = {"score": zeros.double()}
        if self.trie is not None:
            context |= {"node": zeros + ROOT, "word": zeros + NONE, "outcome": zeros}
            context["score"] += self._ahead[ROOT]
        if self.boosts is not None:
            context |= {"phrase": zeros + self.boosts.start}
        for lm in (self.token_lm, self.word_lm):
            if lm is not None:
                context |= lm.start(like)
        return context

    def highest(self, context: Context) -> Tensor:
        """(N, K), float64: upper bound of the scores of extensions without the acoustic part."""
        highest = context["score"] + self._max_gain
        if self.boosts is not None:
            highest = highest - self.boosts.lent[context["phrase"]]
        if self.trie is not None:
            highest = highest - self._ahead[context["node"]]
        return highest

    def extensions(self, context: Context, last: Tensor, extensions: Extensions) -> Extensions:
        """Add the scores of lexicon, phrases and word bonus to extensions.

        Args:
            context: context of the prefixes.
            last: (N, K), last tokens of the prefixes.
            extensions: extensions with only acoustic scores.

        Returns:
            extensions: one for each outcome in the lexicon, scored without the language model.
        """
        slot, token, mass, *_ = extensions
        extra = at(context["score"], slot)
        if self.boosts is not None:
            phrase = at(context["phrase"], slot)
            after = self.boosts.next(phrase, token)
            extra = extra + at(self.boosts.worth, after) - at(self.boosts.lent, phrase)
        if self.trie is None:
            begins = self._begins_word(at(last, slot), token)
            return Extensions(slot, token, mass, extra + self.settings.word_bonus * begins.double())
        node = at(context["node"], slot)
        of, outcome, after, word = self.trie.extensions(node, token)
        extra = at(extra - at(self._ahead, node), of) + at(self._ahead, after)
        extra = extra + at(self._bonuses, word + 1)
        return Extensions(at(slot, of), at(token, of), at(mass, of), extra, outcome, after, word)

    def with_lm(
        self, context: Context, last: Tensor, extensions: Extensions, least: Tensor
    ) -> Extensions:
        """Add the language model's scores to extensions.

        These scores are never above 0. So an extension whose score is too low without the language
        model is made impossible, without asking the model.

        Args:
            context: context of the prefixes; updated in place.
            last: (N, K), last tokens of the prefixes.
            extensions: extensions scored without the language model.
            least: (N,), the score that an extension must reach.
        """
        assert extensions.extra is not None
        may_be = extensions.score >= at(least, extensions.slot // last.shape[1])
        if self.token_lm is not None:
            self.token_lm.read(context, last, at(extensions.slot, may_be.nonzero()[:, 0]))
            lm = self.token_lm.score(
                context, extensions.slot, at(self.token_lm.units, extensions.token)
            )
            extra = torch.where(may_be, extensions.extra + self._weighted(lm), -math.inf)
            return extensions._replace(extra=extra, lm=lm)
        if self.word_lm is None or extensions.word is None:
            return extensions
        ends = ((extensions.word != NONE) & may_be).nonzero()[:, 0]
        found, states = self.word_lm.score(
            context, at(extensions.slot, ends), at(extensions.word, ends)
        )
        lm = torch.zeros_like(extensions.mass).index_put((ends,), found)
        numbers = torch.arange(ends.shape[0], device=ends.device)
        number = torch.full_like(extensions.slot, -1).index_put((ends,), numbers)
        extra = torch.where(may_be, extensions.extra + self._weighted(lm), -math.inf)
        return extensions._replace(extra=extra, lm=lm, number=number, states=states)

    def advance(self, context: Context, extensions: Extensions, choice: Choice) -> Context:
        """The context of the prefixes and extensions that are kept."""
        new, extension = choice.new, choice.extension
        kept = {name: known.gather(1, choice.slot) for name, known in context.items()}
        assert extensions.extra is not None
        kept["score"] = torch.where(new, extensions.extra.take(extension), kept["score"])
        if (
            extensions.outcome is not None
            and extensions.node is not None
            and extensions.word is not None
        ):
            kept["outcome"] = torch.where(new, extensions.outcome.take(extension), kept["outcome"])
            kept["node"] = torch.where(new, extensions.node.take(extension), kept["node"])
            kept["word"] = torch.where(new, extensions.word.take(extension), kept["word"])
        if self.boosts is not None:
            after = self.boosts.next(kept["phrase"], extensions.token.take(extension))
            kept["phrase"] = torch.where(new, after, kept["phrase"])
        if extensions.lm is not None:
            kept["lm"] = kept["lm"] + torch.where(new, extensions.lm.take(extension), 0.0)
        if self.token_lm is not None:
            kept["unread"] = kept["unread"] | new
        if (
            self.word_lm is not None
            and extensions.number is not None
            and extensions.states is not None
        ):
            number = extensions.number.take(extension)
            place = (new & (number >= 0)).nonzero(as_tuple=True)
            rows = self.word_lm.pool.add(extensions.states[number[place]])
            kept["row"] = kept["row"].index_put(place, rows)
        return kept

    def future(self, context: Context, last: Tensor) -> Tensor:
        """A hash of all states that the scores of a prefix's continuations depend on.

        It needs a language model of words.

        Args:
            context: context of the prefixes.
            last: (N, K), last tokens of the prefixes.

        Returns:
            future: (N, K), the hash; prefixes with the same hash can be recombined.
        """
        assert self.word_lm is not None
        states = self.word_lm.pool.states[context["row"]]
        known = [last, context["node"], *states.view(*last.shape, -1).unbind(2)]
        known += [context["phrase"]] if self.boosts is not None else []
        return reduce(mixed, known)

    def end(self, context: Context, last: Tensor, log_prob: Tensor) -> Extensions:
        """Score the prefixes as complete hypotheses at the ends of their utterances.

        If no prefix of an utterance can end with a complete word, all of them are kept, without the
        word that they have begun.

        Args:
            context: context of the prefixes; updated in place.
            last: (N, K), last tokens of the prefixes.
            log_prob: (N, K), acoustic log-probabilities of the prefixes.

        Returns:
            extensions: one for each complete hypothesis; `lm` is the language model's
                log-probability of the whole text with its end.
        """
        slot = (log_prob.flatten() > -math.inf).nonzero()[:, 0]
        extra, word = at(context["score"], slot), None
        if self.boosts is not None:
            extra = extra + at(self.boosts.end, at(context["phrase"], slot))
        if self.trie is not None:
            node = at(context["node"], slot)
            of, word = self._last_words(slot // last.shape[1], node, at(last, slot) == BLANK)
            slot, extra = at(slot, of), at(extra - at(self._ahead, node), of)
            extra = extra + at(self._bonuses, word + 1)
        if self.token_lm is not None:
            self.token_lm.read(context, last, slot)
            lm = self.token_lm.score(context, slot, torch.full_like(slot, EOS))
        elif self.word_lm is not None:
            assert word is not None
            lm = self.word_lm.end(context, slot, word)
        else:
            lm = torch.zeros_like(extra)
        whole = at(context["lm"], slot) + lm if "lm" in context else lm
        mass, none = at(log_prob, slot), torch.full_like(slot, BLANK)
        return Extensions(slot, none, mass, extra + self._weighted(lm), word=word, lm=whole)

    def _last_words(self, row: Tensor, node: Tensor, empty: Tensor) -> tuple[Tensor, Tensor]:
        """The last words with which prefixes may end.

        Args:
            row: (n,), utterances of the prefixes.
            node: (n,), nodes of the prefixes in the lexicon.
            empty: (n,), whether the prefixes are empty.

        Returns:
            of: (ends,), index of the prefix that ends, ascending.
            word: (ends,), the word that ends it; NONE for none.
        """
        assert self.trie is not None
        whole = node == ROOT
        of, word = node[:0], node[:0]
        if self.separator is not None:
            whole &= empty
            of, _, _, word = self.trie.extensions(node, torch.full_like(node, self.separator))
        of = torch.cat((of, whole.nonzero()[:, 0]))
        stuck = ~torch.isin(row, row[of])
        of, order = torch.cat((of, stuck.nonzero()[:, 0])).sort(stable=True)
        return of, torch.cat((word, torch.full_like(of[word.shape[0] :], NONE)))[order]

    def _begins_word(self, last: Tensor, token: Tensor) -> Tensor:
        """Whether a token begins a word, if there is no lexicon."""
        if self._begins is not None:
            return at(self._begins, token) | (last == BLANK)
        if self.separator is None:
            return torch.ones_like(token, dtype=torch.bool)
        return ((last == self.separator) | (last == BLANK)) & (token != self.separator)

    def _weighted(self, lm: Tensor) -> Tensor:
        # 0 times -inf would be NaN
        weight = self.settings.lm_weight
        return weight * lm if weight else torch.zeros_like(lm)
