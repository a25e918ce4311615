from types import SimpleNamespace

import numpy as np
import pytest
import torch

from asr.errors import InputError
from asr.networks.tagger import Tagger, TaggerSettings
from asr.training.punctuation_data import (
    PunctuationData,
    PunctuationDataSettings,
    PunctuationSettings,
    TagBatches,
)
from asr.training.stream import ChunkDraw
from asr.training.tagged_text import NOT_COUNTED, read_punctuated

SIZES = TaggerSettings(embedding_size=4, n_buckets=10**6, hidden_size=4, n_layers=1)
CLEAN = PunctuationDataSettings(window=6, rows=4, replaced=0.0, dropped=0.0)


@pytest.fixture
def text(tmp_path):
    """42 sentences of one to six words, each word of the text once."""
    sizes = np.random.default_rng(0).integers(1, 7, size=42)
    lines = [
        " ".join(f"w{n}x{k}" for k in range(size)).title() + "." for n, size in enumerate(sizes)
    ]
    (tmp_path / "text.txt").write_text(
        "\n".join(line.replace("W", "w") for line in lines) + "\nI.\n"
    )
    return read_punctuated(str(tmp_path / "text.txt"))


def drawn(batches, epoch):
    return [batches[ChunkDraw(place, epoch)] for place in range(len(batches))]


def words_of(batches, text, tagger):
    """The words in some batches, found by their inputs."""
    known = {
        tuple(row): word
        for row, word in zip(tagger.inputs(text.distinct).tolist(), text.distinct, strict=True)
    }
    return [
        known[tuple(row)]
        for batch in batches
        for n, length in enumerate(batch.lengths)
        for row in batch.inputs[:length, n].tolist()
    ]


def test_the_text_is_read_once_in_order_without_a_seed(text):
    tagger = Tagger(text.distinct, SIZES)
    batches = drawn(TagBatches(text, tagger, CLEAN), 0)
    assert words_of(batches, text, tagger) == list(text.distinct)
    assert sum(batch.size for batch in batches) == len(text.tagged)
    for batch in batches:
        inside = torch.arange(len(batch.inputs))[:, None] < batch.lengths
        assert torch.equal(batch.marks != NOT_COUNTED, inside)
        assert torch.equal(batch.cases != NOT_COUNTED, inside)
        assert int(inside.sum()) == batch.size


def test_epochs_have_another_order_and_leave_out_less_than_a_batch(text):
    tagger = Tagger(text.distinct, SIZES)
    batches = TagBatches(text, tagger, CLEAN, seed=3)
    first, again, second = (words_of(drawn(batches, epoch), text, tagger) for epoch in (0, 0, 1))
    assert first == again
    assert first != second
    assert len(set(first)) == len(first)
    assert len(text.tagged) - len(first) < CLEAN.rows * CLEAN.window


def test_processes_share_the_windows(text):
    tagger = Tagger(text.distinct, SIZES)
    noisy = PunctuationDataSettings(window=6, rows=4, replaced=0.2, dropped=0.2)
    whole = drawn(TagBatches(text, tagger, noisy, seed=1), 2)
    shares = [drawn(TagBatches(text, tagger, noisy, 1, (rank, 2)), 2) for rank in range(2)]
    for number, batch in enumerate(whole):
        parts = [share[number] for share in shares]
        assert {part.size for part in parts} == {batch.size}
        assert torch.equal(torch.cat([part.lengths for part in parts]), batch.lengths)
        assert words_of(parts, text, tagger) == words_of([batch], text, tagger)


def names_of(tmp_path, **options):
    paths = {part: str(tmp_path / "text.txt") for part in ("train", "dev")}
    return PunctuationSettings(data=PunctuationDataSettings(**paths, **options))


def test_texts_that_are_too_short_are_refused(text, tmp_path):
    with pytest.raises(InputError, match=r"text\.txt: has \d+ windows of 200 words; expected eno"):
        PunctuationData(names_of(tmp_path)).read()


def test_rows_must_be_a_multiple_of_the_processes(text, tmp_path):
    data = PunctuationData(names_of(tmp_path, rows=3, window=6))
    data.read()
    data.trainer = SimpleNamespace(world_size=2, global_rank=0)
    with pytest.raises(
        InputError, match=r"data\.rows is 3; expected a multiple of the 2 processes"
    ):
        data.train_dataloader()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [("replaced", 1.0, "from 0 to below 1"), ("window", 0, "1 or more"), ("max_size", 0, "1 or m")],
)
def test_settings_out_of_range_are_refused(name, value, expected):
    with pytest.raises(InputError, match=rf"data\.{name} is {value}; expected {expected}"):
        PunctuationDataSettings(**{name: value})
