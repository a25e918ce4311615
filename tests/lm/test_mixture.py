import itertools
import json

import numpy as np
import pytest
import torch
from conftest import run_script

from asr.errors import InputError, reported
from asr.lm.estimate import EstimateSettings, estimate
from asr.lm.mixture import mix
from asr.lm.ngram import load_ngram

N_UNITS = 6
BEGIN = N_UNITS
WEIGHTS = (0.7, 0.2, 0.1)


def model_of(seed, units, order):
    generator = np.random.default_rng(seed)
    sentences = [
        list(map(int, generator.choice(units, generator.integers(1, 6)))) for _ in range(40)
    ]
    return estimate(sentences, N_UNITS, EstimateSettings(order, discount_fallback=True))


@pytest.fixture(scope="module")
def models():
    return [model_of(1, [2, 3, 4], 3), model_of(2, [4, 5], 4), model_of(3, [2, 5], 1)]


def grams_of(trie):
    """{units: (natural log-probability, log of the weight)} of every n-gram of a trie."""
    grams = {}
    for node in range(1, len(trie.keys)):
        gram, at = (), node
        while at:
            at, unit = divmod(int(trie.keys[at]), N_UNITS + 1)
            gram = (unit, *gram)
        weight = float(trie.backoffs[node]) if node < len(trie.backoffs) else 0.0
        grams[gram] = float(trie.log_probs[node]), weight
    return grams


def prob(grams, context, unit):
    """The probability of a unit in a context: back-off, by recursion."""
    if (*context, unit) in grams:
        return np.exp(grams[*context, unit][0])
    return np.exp(grams.get(context, (0, 0))[1]) * prob(grams, context[1:], unit)


def prob_of_context(grams, context):
    """The probability of a context's units, each given those before it in the context."""
    given = range(1 if context[:1] == (BEGIN,) else 0, len(context))
    return np.prod([prob(grams, context[:place], context[place]) for place in given])


def contexts(longest):
    for length in range(longest + 1):
        for context in itertools.product(range(N_UNITS + 1), repeat=length):
            if BEGIN not in context[1:] and 1 not in context:
                yield context


def test_each_ngram_has_the_mean_that_its_context_chooses(models):
    parts = [grams_of(trie) for trie in models]
    mixed = grams_of(mix(models, WEIGHTS))
    assert set(mixed) == set.union(*map(set, parts))
    for *context, unit in mixed:
        if unit == BEGIN:
            continue
        context = tuple(context)
        joint = [w * prob_of_context(p, context) for w, p in zip(WEIGHTS, parts, strict=True)]
        own = [prob(part, context, unit) for part in parts]
        expected = np.dot(joint, own) / sum(joint)
        assert np.exp(mixed[*context, unit][0]) == pytest.approx(expected, rel=1e-5)


def test_every_context_sums_to_one(models):
    mixed = grams_of(mix(models, WEIGHTS))
    for context in contexts(3):
        assert sum(prob(mixed, context, unit) for unit in range(N_UNITS)) == pytest.approx(1)


def test_a_single_model_stays_as_it_is(models):
    for model in models:
        alone = mix([model], [1.0])
        assert torch.equal(alone.keys, model.keys)
        assert torch.equal(alone.states, model.states)
        torch.testing.assert_close(alone.log_probs, model.log_probs)
        torch.testing.assert_close(alone.backoffs, model.backoffs, atol=1e-5, rtol=0)


def test_a_context_of_a_rare_text_is_followed_by_that_text():
    novels, letters = model_of(1, [2, 3], 3), model_of(2, [4, 5], 3)
    mixed = mix([novels, letters], [0.99, 0.01])
    state = mixed.start(1)
    first = mixed.distribution(state).exp()[0]
    assert first[4] + first[5] < 0.03
    _, state = mixed.score(state, torch.tensor([4]))
    second = mixed.distribution(state).exp()[0]
    expected = letters.distribution(letters.score(letters.start(1), torch.tensor([4]))[1]).exp()[0]
    assert second[4] + second[5] > 0.5 * (expected[4] + expected[5])


@pytest.mark.parametrize("weights", [[0.5], [0.7, 0.4, 0.1], [1.0, 0.0, 0.0]])
def test_wrong_weights_are_refused(models, weights):
    with pytest.raises(ValueError, match="expected 3 above 0, of sum 1"):
        mix(models, weights)


def test_other_units_are_refused(models):
    other = estimate([[2]], 3, EstimateSettings(1, discount_fallback=True))
    with pytest.raises(ValueError, match=r"units; expected one number for all"):
        mix([models[0], other], [0.5, 0.5])


# --- the recipe -------------------------------------------------------------------------------

TEXTS = ["one two one two three", "two two one", "one one", "two one two", "three", "one"]
COMMANDS = ["go", "go go stop", "stop go"]


def train(folder, *options):
    fixed = ["--model.discount_fallback=true", f"--data.train={folder / 'text.txt'}"]
    mixed = [f'--mixture.texts=["{folder / "commands.txt"}"]', "--mixture.weights=[0.1]"]
    out = folder / "lm"
    run_script("recipes/train_ngram.py", *fixed, *mixed, "--out", out, *options)
    return out


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "text.txt").write_text("\n".join(TEXTS) + "\n")
    (tmp_path / "commands.txt").write_text("\n".join(COMMANDS) + "\n")
    return tmp_path


def test_the_recipe_mixes_texts(folder, capsys):
    out = train(folder, "--data.min_count=3")
    lm = load_ngram(out)
    # rare words of the first text alone are left out
    assert lm.vocabulary.symbols == (
        "<unk>",
        "<eos>",
        "one",
        "two",
        "go",
        "stop",
    )
    assert np.exp(lm.log_prob("go go stop")) > 0.001
    facts = json.loads((out / "model.json").read_text())["trained_on"]
    assert (facts["sentences"], facts["unknown"], facts["units"]) == (9, 2, 30)
    assert len(facts["mixture_sha256"]) == 1
    capsys.readouterr()
    train(folder, "--data.min_count=3")
    assert "is estimated already" in capsys.readouterr().err
    (folder / "commands.txt").write_text("go\n")
    with pytest.raises(InputError, match="has another model, or one of other settings or texts"):
        train(folder, "--data.min_count=3")


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--mixture.weights=[]", "mixture.weights has 0 numbers; expected one for each of the 1"),
        ("--mixture.weights=[1]", "mixture.weights is [1.0]; expected numbers above 0, of a sum"),
        ("--data.unit=bpe", "mixture.texts: data.unit is bpe; expected another with a mixture"),
    ],
)
def test_a_mixture_that_cannot_be_is_refused(folder, option, line, capsys):
    with pytest.raises(SystemExit), reported("train_ngram"):
        train(folder, option)
    assert line in capsys.readouterr().err


def test_a_text_that_cannot_be_used_is_named(folder):
    (folder / "commands.txt").write_text("\n")
    with pytest.raises(InputError, match=r"commands\.txt: has no sentence"):
        train(folder)
