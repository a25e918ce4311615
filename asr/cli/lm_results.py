"""Results of `asr.lm.bench` -> lines of text, and values for JSON."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from asr.errors import printable
from asr.files import finite_or_none
from asr.lm.bench.agreement import GroupResult, Judgement
from asr.lm.bench.inspection import Follower, Property
from asr.lm.bench.perplexity import Perplexity, Total
from asr.lm.protocol import LanguageModel
from asr.lm.vocabulary import EOS, UNK, Vocabulary


def perplexity_values(vocabulary: Vocabulary, found: Perplexity) -> dict[str, Any]:
    """One object; infinite numbers are null, and so are the OOV columns if there is no OOV word."""
    return {
        "unit": vocabulary.unit,
        "sentences": found.sentences,
        "empty": found.empty,
        "oov_words": len(found.oov),
        "oov_rate": found.oov_rate,
        "whole": _total_values(found.whole),
        "without_oov": _total_values(found.known) if found.oov else None,
        "oov_spelled": _total_values(found.spelled) if found.oov else None,
    }


def perplexity_lines(vocabulary: Vocabulary, found: Perplexity) -> list[str]:
    """A table, with notes on the columns for OOV words if there are any."""
    whole, ends = found.whole, found.sentences
    n_words = whole.words - ends
    lines = [
        f"{ends:,} sentences, {n_words:,} words, {whole.characters - ends:,} characters"
        f" including spaces; {whole.units - ends:,} units ({vocabulary.unit})",
        "the end of each sentence counts as one more word, character and unit",
    ]
    if found.empty:
        lines.append(f"{found.empty:,} sentences have no word after normalisation and are left out")
    columns = {"the whole text": whole}
    if found.oov:
        often = ", ".join(f"{word} {times}" for word, times in Counter(found.oov).most_common(5))
        lines.append(f"OOV words: {len(found.oov):,} ({found.oov_rate:.2%}), most frequent {often}")
        columns |= {"without OOV": found.known, "OOV spelled": found.spelled}
    else:
        lines.append("OOV words: 0 (0.00%)")
    lines += ["", *_table(columns, with_units=whole.units != whole.words)]
    return lines + (["", *_oov_notes(found)] if found.oov else [])


def sentence_values(model: LanguageModel, texts: Sequence[str]) -> Iterator[dict[str, Any]]:
    """One object per sentence, with all its units and its end."""
    vocabulary = model.vocabulary
    units = [vocabulary.encode(text) for text in texts]
    for text, numbers, row in zip(texts, units, model.sentence_log_probs(units), strict=True):
        symbols = [vocabulary.symbols[unit] for unit in (*numbers, EOS)]
        yield {
            "text": text,
            "log_prob": finite_or_none(float(row.sum(dtype=np.float64))),
            "unknown": numbers.count(UNK),
            "units": [
                [s, finite_or_none(float(value))] for s, value in zip(symbols, row, strict=True)
            ],
        }


def sentence_lines(values: Mapping[str, Any], with_units: bool) -> list[str]:
    """Log-probability, number of unknown units, text; then, if asked for, one line per unit."""
    lines = [f"{_nats(values['log_prob'])}\t{values['unknown']}\t{printable(values['text'])}"]
    if with_units:
        lines += [
            f"\t{_nats(log_prob)}\t{printable(symbol)}" for symbol, log_prob in values["units"]
        ]
    return lines


def agreement_values(
    results: Sequence[GroupResult], judgements: Sequence[Judgement]
) -> dict[str, Any]:
    """One object with all groups and all pairs."""
    groups = []
    for result in results:
        low, high = result.interval
        rates = {"accuracy": finite_or_none(result.accuracy), "low": low, "high": high}
        groups.append(asdict(result) | rates)
    pairs = [
        {
            "good": judgement.pair.good,
            "bad": judgement.pair.bad,
            "good_log_prob": finite_or_none(judgement.good_log_prob),
            "bad_log_prob": finite_or_none(judgement.bad_log_prob),
            "right": judgement.right,
            "oov": judgement.oov,
        }
        for judgement in judgements
    ]
    return {"groups": groups, "pairs": pairs}


def agreement_lines(results: Sequence[GroupResult]) -> list[str]:
    """A table with one row per group."""
    width = max(len("group"), *(len(result.group) for result in results))
    lines = [f"{'group':<{width}}  pairs  right  accuracy   95 % interval  OOV pairs  right"]
    for result in results:
        low, high = (f"{100 * rate:.1f}" for rate in result.interval)
        accuracy = f"{100 * result.accuracy:.1f} %" if result.pairs else "-"
        interval = f"{low:>5} to {high:>5}" if result.pairs else "-"
        lines.append(
            f"{result.group:<{width}} {result.pairs:6} {result.right:6} {accuracy:>9}"
            f" {interval:>15} {result.oov_pairs:10} {result.oov_right:6}"
        )
    return lines


def follower_values(best: Sequence[tuple[Property, Sequence[Follower]]]) -> list[dict[str, Any]]:
    """One object per hidden unit of each property."""
    return [
        {"property": property.name, "measure": property.measure, **asdict(follower)}
        for property, followers in best
        for follower in followers
    ]


def follower_lines(best: Sequence[tuple[Property, Sequence[Follower]]]) -> list[str]:
    """One table per property."""
    lines = []
    for property, followers in best:
        lines.append(f"{property.name} ({property.measure})")
        lines.append("  layer  unit  rises  first half  second half")
        for follower in followers:
            rises = "yes" if follower.sign > 0 else "no"
            lines.append(
                f"{follower.layer:7} {follower.unit:5}  {rises:>5}"
                f" {follower.chosen_by:11.3f} {follower.held_out:12.3f}"
            )
    return lines


def _total_values(total: Total) -> dict[str, float | int | None]:
    return {
        "log_prob": finite_or_none(total.log_prob),
        "words": total.words,
        "characters": total.characters,
        "units": total.units,
        "perplexity_per_word": finite_or_none(total.per_word),
        "perplexity_per_character": finite_or_none(total.per_character),
        "perplexity_per_unit": finite_or_none(total.per_unit),
        "bits_per_character": finite_or_none(total.bits_per_character),
    }


def _table(columns: Mapping[str, Total], with_units: bool) -> list[str]:
    totals = columns.values()
    rows = {
        "": [f"{name:>16}" for name in columns],
        "log-probability": [f"{total.log_prob:16,.2f}" for total in totals],
        "perplexity per word": [f"{total.per_word:16,.2f}" for total in totals],
        "perplexity per unit": [f"{total.per_unit:16,.3f}" for total in totals],
        "perplexity per character": [f"{total.per_character:16,.3f}" for total in totals],
        "bits per character": [f"{total.bits_per_character:16,.3f}" for total in totals],
    }
    if not with_units:
        del rows["perplexity per unit"]
    return [f"{name:<25}{''.join(row)}".rstrip() for name, row in rows.items()]


def _oov_notes(found: Perplexity) -> list[str]:
    return [
        "the whole text: an OOV word counts as <unk>. A smaller vocabulary gives a lower",
        "  perplexity, so compare only models with the same vocabulary",
        "without OOV: OOV words are left out of the sum and of the counts",
        f"OOV spelled: an OOV word counts as <unk> and its letters, each with the same probability"
        f" (1 of {found.alphabet});",
        "  models with different vocabularies can be compared",
    ]


def _nats(log_prob: float | None) -> str:
    return "-inf" if log_prob is None else f"{log_prob:.4f}"
