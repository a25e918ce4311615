import arpa_dictionary
import numpy as np
import pytest
import torch

from asr.errors import InputError
from asr.lm.arpa import read_arpa
from asr.lm.estimate import EstimateSettings, estimate
from asr.lm.ngram import load_ngram, read_ngram, save_ngram
from asr.lm.ngram_packed import empty_packed, pack, unpack


def random_trie(folder, order):
    text = arpa_dictionary.random_arpa(order, 4, np.random.default_rng(order))
    (folder / "a.arpa").write_text(text)
    return read_arpa(folder / "a.arpa")[1]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_an_unpacked_trie_is_the_same_but_for_the_last_digits(tmp_path, order):
    trie = random_trie(tmp_path, order)
    found = unpack(trie.n_units, trie.sizes, pack(trie))
    assert found.sizes == trie.sizes
    for name in ("keys", "suffixes", "states"):
        assert torch.equal(found.tables[name], trie.tables[name]), name
    for name in ("log_probs", "backoffs"):
        torch.testing.assert_close(found.tables[name], trie.tables[name], rtol=5e-4, atol=1e-7)


@pytest.mark.parametrize(("n_units", "kind"), [(65_534, torch.uint16), (65_535, torch.int32)])
def test_many_units_take_more_digits(n_units, kind):
    settings = EstimateSettings(2, discount_fallback=True)
    trie = estimate([[n_units - 1, 2], [n_units - 2]], n_units, settings)
    tables = pack(trie)
    assert tables["units"].dtype == tables["n_children"].dtype == kind
    assert int(tables["n_children"].long().max()) == n_units + 1
    found = unpack(n_units, trie.sizes, tables)
    assert torch.equal(found.keys, trie.keys)


def test_a_packed_folder_gives_the_same_scores_in_a_third_of_the_space(tmp_path):
    text = arpa_dictionary.random_arpa(3, 20, np.random.default_rng(0))
    (tmp_path / "a.arpa").write_text(text)
    model = read_ngram(tmp_path / "a.arpa")
    for packed in (False, True):
        save_ngram(tmp_path / f"{packed}", model, {}, {}, packed)
    whole, half = (load_ngram(tmp_path / f"{packed}") for packed in (False, True))
    sizes = [(tmp_path / f"{p}" / "weights.safetensors").stat().st_size for p in (False, True)]
    assert sizes[1] < 0.38 * sizes[0]
    sentences = np.random.default_rng(1).integers(2, model.trie.n_units, size=(50, 6)).tolist()
    for one, other in zip(
        whole.sentence_log_probs(sentences), half.sentence_log_probs(sentences), strict=True
    ):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=2e-3)  # sums of up to 3 terms


def test_packed_tables_have_the_documented_types_and_shapes(tmp_path):
    trie = random_trie(tmp_path, 3)
    for name, table in empty_packed(trie.n_units, trie.sizes).items():
        found = pack(trie)[name]
        assert (found.dtype, found.shape) == (table.dtype, table.shape), name


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        ("n_children", 1, 10_000, "n_children has"),
        ("units", 3, 1_000, "units are from 0 to 1000; expected 0 to"),
        ("units", 0, 4, "units are not in ascending order"),
    ],
)
def test_damaged_packed_tables_are_refused(tmp_path, name, place, value, message):
    text = arpa_dictionary.random_arpa(3, 4, np.random.default_rng(0))
    (tmp_path / "a.arpa").write_text(text)
    model = read_ngram(tmp_path / "a.arpa")
    tables = {name: table.clone() for name, table in pack(model.trie).items()}
    tables[name] = tables[name].int()
    tables[name][place] = value
    with pytest.raises(ValueError, match=message):
        unpack(model.trie.n_units, model.trie.sizes, tables)


def test_damaged_packed_folder_is_named(tmp_path, monkeypatch):
    text = arpa_dictionary.random_arpa(2, 4, np.random.default_rng(0))
    (tmp_path / "a.arpa").write_text(text)
    model = read_ngram(tmp_path / "a.arpa")

    def damaged(trie):
        tables = pack(trie)
        tables["units"][0] = 4
        return tables

    monkeypatch.setattr("asr.lm.ngram.pack", damaged)
    save_ngram(tmp_path / "m", model, {}, {}, packed=True)
    with pytest.raises(InputError, match=r"m/weights.safetensors: units are not in ascending"):
        load_ngram(tmp_path / "m")
