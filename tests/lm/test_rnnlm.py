from itertools import pairwise

import numpy as np
import pytest
import torch

import asr.lm.rnnlm
from asr.errors import InputError
from asr.lm.rnnlm import RNNLM, RNNLMSettings, Softmax
from asr.lm.vocabulary import EOS, Vocabulary

WORDS = "the cat sat on a mat and that dog ran to it so we all did see how"
VOCABULARY = Vocabulary.from_texts([WORDS])
V = len(VOCABULARY.symbols)
KINDS = [
    {"cell": "rnn"},
    {"cell": "gru", "n_layers": 3},
    {"cell": "lstm", "softmax": "adaptive"},
    {"cell": "lstm", "tied": False, "n_layers": 1},
    {"cell": "gru", "tied": False, "softmax": "adaptive"},
    {"cell": "lstm", "embedding_size": 6, "n_layers": 1},
]
EACH_KIND = pytest.mark.parametrize(
    "kind", KINDS, ids=lambda kind: " ".join(map(str, kind.values()))
)


def model_of(double=True, **settings):
    torch.manual_seed(0)
    values = {"embedding_size": 4, "hidden_size": 6, "n_layers": 2} | settings
    model = RNNLM(VOCABULARY, RNNLMSettings(**values)).eval()
    for (
        parameter
    ) in model.parameters():  # larger than the initialisation, so that no distribution is uniform
        parameter.data.normal_(0, 0.7)
    return model.double() if double else model


def random_sentences(n, seed=0, most=9):
    """Random sentences; some are empty, equal to another or a prefix of another."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(0, most, n)
    sentences = [tuple(generator.integers(0, V, length).tolist()) for length in lengths]
    for a, b in generator.integers(0, n, (n // 2, 2)):
        sentences[a] = (*sentences[b][: generator.integers(0, most)], *sentences[a][:2])
    return sentences


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def step_in_numpy(cell, x, h, c, w, u, b, d):
    if cell == "rnn":
        return np.tanh(w @ x + b + u @ h + d), c
    if cell == "gru":
        (wr, wz, wn), (ur, uz, un) = np.split(w, 3), np.split(u, 3)
        (br, bz, bn), (dr, dz, dn) = np.split(b, 3), np.split(d, 3)
        r = sigmoid(wr @ x + br + ur @ h + dr)
        z = sigmoid(wz @ x + bz + uz @ h + dz)
        n = np.tanh(wn @ x + bn + r * (un @ h + dn))
        return (1 - z) * n + z * h, c
    i, f, g, o = np.split(w @ x + b + u @ h + d, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def log_softmax(x):
    return x - np.log(np.exp(x).sum())


def in_numpy(model, sentence):
    """Every layer's outputs after each unit; and the log-probs of the next unit at each place."""
    settings, weights = model.settings, {k: v.numpy() for k, v in model.state_dict().items()}
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    embeddings = weights["output.weight" if settings.tied else "embedding.weight"]
    H, L = settings.hidden_size, settings.n_layers
    h, c = np.zeros((L, H)), np.zeros((L, H))
    outputs, log_probs = [], []
    for unit in (EOS, *sentence):
        x = embeddings[unit]
        for depth in range(L):
            layer = [weights[f"stack.forwards.{depth}.{name}"] for name in names]
            h[depth], c[depth] = step_in_numpy(settings.cell, x, h[depth], c[depth], *layer)
            x = h[depth]
        outputs.append(h.copy())
        if "projection.weight" in weights:
            x = weights["projection.weight"] @ x + weights["projection.bias"]
        log_probs.append(units_in_numpy(settings.softmax, weights, x))
    return np.array(outputs[1:]), np.array(log_probs)


def units_in_numpy(softmax, weights, x):
    logits = weights["output.weight"] @ x + weights["output.bias"]
    if softmax == "full":
        return log_softmax(logits)
    ends = V // 10, 4 * V // 10, V
    groups = weights["output.group_weight"] @ x + weights["output.group_bias"]
    first = log_softmax(np.concatenate([logits[: ends[0]], groups]))
    parts = [first[: ends[0]]]
    for number, (a, b) in enumerate([ends[:2], ends[1:]]):
        parts.append(first[ends[0] + number] + log_softmax(logits[a:b]))
    return np.concatenate(parts)


@EACH_KIND
def test_all_methods_equal_the_plain_equations(kind):
    model = model_of(**kind)
    sentence = (5, 0, 7, 7, 16, 2)
    outputs, log_probs = in_numpy(model, sentence)
    expected = log_probs[range(7), (*sentence, EOS)]
    (found,) = model.sentence_log_probs([sentence])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    activations = model.activations(sentence)
    assert activations.shape == (6, model.settings.n_layers, 6)
    np.testing.assert_allclose(activations.numpy(), outputs, rtol=1e-11, atol=1e-13)

    state = model.start(2)
    for unit, row, score in zip((*sentence, EOS), log_probs, expected, strict=True):
        np.testing.assert_allclose(model.log_probs(state).numpy(), [row, row], rtol=1e-11)
        scores, state = model.score(state, torch.tensor([unit, unit]))
        np.testing.assert_allclose(scores.numpy(), [score, score], rtol=1e-11)


@EACH_KIND
def test_all_methods_agree_in_single_precision(kind):
    model = model_of(double=False, **kind)
    for sentence in random_sentences(20):
        (together,) = model.sentence_log_probs([sentence])
        inputs = torch.tensor([[EOS, *sentence, EOS]]).T
        losses, _ = model.losses(inputs[:-1], inputs[1:], model.zero_state(1))
        state, single, among = model.start(1), [], []
        for unit in (*sentence, EOS):
            among.append(model.log_probs(state)[0, unit].item())
            score, state = model.score(state, torch.tensor([unit]))
            single.append(score.item())
        assert model.log_probs(state).dtype == losses.dtype == torch.float32
        for found in (-losses[:, 0].detach().numpy(), single, among):
            np.testing.assert_allclose(found, together, rtol=1e-5, atol=1e-5)


@EACH_KIND
def test_next_units_have_probabilities_that_sum_to_1(kind):
    model = model_of(**kind)
    _, state = model.score(model.start(V), torch.arange(V))
    log_probs = model.log_probs(state)
    assert log_probs.shape == (V, V)
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(V).double(), rtol=1e-12, atol=0)


@EACH_KIND
@pytest.mark.parametrize("limited", [False, True])
def test_scores_do_not_depend_on_other_sentences(kind, limited, monkeypatch):
    if limited:  # so that both limits are reached
        monkeypatch.setattr(asr.lm.rnnlm, "TOGETHER", 7)
        monkeypatch.setattr(asr.lm.rnnlm, "LOGITS", 3 * V)
    model = model_of(**kind)
    sentences = random_sentences(60)
    together = model.sentence_log_probs(sentences)
    assert len(together) == 60
    for sentence, found in zip(sentences, together, strict=True):
        assert found.shape == (len(sentence) + 1,)
        np.testing.assert_allclose(found, model.sentence_log_probs([sentence])[0], rtol=1e-6)


def test_no_sentences_give_no_log_probs():
    assert model_of().sentence_log_probs([]) == []
    assert model_of().activations([]).shape == (0, 2, 6)


def test_each_shared_prefix_is_computed_once(monkeypatch):
    model, rows = model_of(), []
    step = model.stack.step
    monkeypatch.setattr(
        model.stack,
        "step",
        lambda from_input, state: (rows.append(len(state)), step(from_input, state))[1],
    )
    sentences = random_sentences(60)
    model.sentence_log_probs(sentences)
    beginnings = {s[:length] for s in sentences for length in range(len(s) + 1)}
    assert sum(rows) == len(beginnings)  # the empty one is EOS alone


@EACH_KIND
def test_chunk_by_chunk_equals_all_at_once(kind):
    model = model_of(**kind)
    units = torch.from_numpy(np.random.default_rng(0).integers(0, V, (10, 3)))
    found, gradients = [], []
    for lengths in ([9], [4, 5]):
        state, losses = model.zero_state(3), []
        chunks = zip(units[:-1].split(lengths), units[1:].split(lengths), strict=True)
        for inputs, targets in chunks:
            loss, state = model.losses(inputs, targets, state)
            assert loss.shape == inputs.shape
            losses.append(loss)
        found.append(torch.cat(losses))
        gradients.append(torch.autograd.grad(found[-1].sum(), list(model.parameters())))
    torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=1e-12)
    for chunked, whole in zip(*gradients, strict=True):
        torch.testing.assert_close(chunked, whole, rtol=1e-9, atol=1e-11)


def matrices(model):
    """Each gate's matrix, with the name of its parameter."""
    for name, values in model.named_parameters():
        if values.ndim == 2:
            size = model.settings.hidden_size if "stack" in name else len(values)
            yield from ((name, matrix.detach()) for matrix in values.split(size))


def drawn(initialisation, **settings):
    torch.manual_seed(0)
    values = {"embedding_size": 90, "hidden_size": 120, "n_layers": 2} | settings
    return RNNLM(VOCABULARY, RNNLMSettings(initialisation=initialisation, **values))


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("softmax", ["full", "adaptive"])
def test_initialisations_have_the_documented_distributions(cell, softmax):
    bounds = {
        "uniform": lambda rows, columns: columns**-0.5,
        "xavier": lambda rows, columns: (6 / (rows + columns)) ** 0.5,
    }
    for initialisation, bound_of in bounds.items():
        for name, matrix in matrices(drawn(initialisation, cell=cell, softmax=softmax)):
            bound = bound_of(*matrix.shape)
            assert matrix.abs().max() <= bound, name
            # five standard deviations of the mean of squares of a uniform distribution
            off = 5 * bound**2 * (4 / 45 / matrix.numel()) ** 0.5
            assert abs(matrix.square().mean() - bound**2 / 3) < off, name
    for name, matrix in matrices(drawn("orthogonal", cell=cell)):
        if "weight_hh" in name:
            torch.testing.assert_close(matrix @ matrix.T, torch.eye(120), rtol=0, atol=1e-5)
        else:
            assert matrix.abs().max() <= (6 / sum(matrix.shape)) ** 0.5, name


def test_forget_gates_are_initialised_open():
    for layer in drawn("xavier").stack.forwards:
        assert (layer.bias_ih_l0 + layer.bias_hh_l0)[120:240].tolist() == [1.0] * 120


def test_a_tied_model_has_one_matrix_for_input_and_output():
    tied, untied = model_of(), model_of(tied=False)
    assert tied.embeddings is tied.output.weight
    assert "embedding.weight" not in tied.state_dict()
    assert len({id(p) for p in tied.parameters()}) == len(tied.state_dict())
    assert tied.projection.weight.shape == (4, 6)
    assert untied.embeddings is untied.embedding.weight
    assert untied.output.weight.shape == (V, 6)
    assert untied.projection is None
    assert model_of(embedding_size=6).projection is None


@pytest.mark.parametrize(
    "dropout",
    ["dropout_input", "dropout_hidden", "dropout_output", "weight_drop"],
)
def test_dropout_acts_in_training_only(dropout):
    plain, dropped = model_of(), model_of(**{dropout: 0.5})
    units = torch.arange(10)[:, None].repeat(1, 3)
    expected = plain.losses(units[:-1], units[1:], plain.zero_state(3))
    found = dropped.losses(units[:-1], units[1:], dropped.zero_state(3))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    torch.manual_seed(1)
    found, _ = dropped.train().losses(units[:-1], units[1:], dropped.zero_state(3))
    assert (found != expected[0]).any()
    # each row has its own mask, but all rows use the same weights
    assert (found[:, 0] == found[:, 1]).all() == (dropout == "weight_drop")


@pytest.mark.parametrize("variational", [False, True])
def test_a_variational_mask_is_shared_by_a_whole_chunk(variational):
    settings = {"embedding_size": 60, "hidden_size": 60, "variational": variational}
    model = model_of(dropout_output=0.5, **settings).train()
    units = torch.arange(10)[:, None].repeat(1, 3)
    outputs, state = model(units, model.zero_state(3))
    again, _ = model(units, state)
    assert (outputs == 0).equal((outputs == 0)[:1].expand_as(outputs)) == variational
    assert not (again[0] == 0).equal(outputs[0] == 0)  # the next chunk has another

    # with a variational mask, a unit has the same embedding everywhere in the chunk
    model = model_of(cell="rnn", n_layers=1, dropout_input=0.5, **settings).train()
    model.stack.forwards[0].weight_hh_l0.data.zero_()
    outputs, _ = model(torch.full((5, 2), 7), model.zero_state(2))
    assert outputs.allclose(outputs[:1], rtol=0, atol=1e-12) == variational
    assert not outputs[:, 0].allclose(outputs[:, 1], rtol=0, atol=1e-3)


def test_half_precision_stays_close():
    model = model_of(double=False, hidden_size=32, embedding_size=32)
    for parameter in model.parameters():
        parameter.data.mul_(0.3)
    sentences = random_sentences(60)
    expected = model.sentence_log_probs(sentences)
    with torch.autocast("cpu", torch.bfloat16):
        found = model.sentence_log_probs(sentences)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=0.05)  # bfloat16 has 8 bits


@pytest.mark.gpu
@EACH_KIND
def test_the_gpu_gives_the_same_numbers_as_the_cpu(kind):
    model = model_of(double=False, **kind)
    sentences = random_sentences(60)
    expected = model.sentence_log_probs(sentences)
    activations = model.activations(sentences[0])
    model.cuda()
    for one, other in zip(model.sentence_log_probs(sentences), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        model.activations(sentences[0]).cpu(), activations, rtol=1e-4, atol=1e-4
    )
    scores, state = model.score(model.start(2), torch.tensor([3, 4]))  # units on the CPU
    assert state.is_cuda
    assert scores.shape == (2,)


@pytest.mark.parametrize("unit", [-1, V])
def test_units_of_another_vocabulary_are_refused(unit):
    with pytest.raises(ValueError, match=f"sentences have the unit {unit}; expected 0 to {V - 1}"):
        model_of().sentence_log_probs([(3, 4), (5, unit)])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"embedding_size": 0}, "model.embedding_size is 0; expected 1 or more"),
        ({"hidden_size": 0}, "model.hidden_size is 0; expected 1 or more"),
        ({"n_layers": -1}, "model.n_layers is -1; expected 1 or more"),
        ({"dropout_input": 1.0}, "model.dropout_input is 1.0; expected from 0 to below 1"),
        ({"dropout_hidden": -0.1}, "model.dropout_hidden is -0.1; expected from 0 to below 1"),
        ({"dropout_output": 1.5}, "model.dropout_output is 1.5; expected from 0 to below 1"),
        ({"weight_drop": 1.0}, "model.weight_drop is 1.0; expected from 0 to below 1"),
    ],
)
def test_invalid_settings_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        RNNLMSettings(**values)


# --- the softmax --------------------------------------------------------------------------------

E = 5
EACH_SOFTMAX = pytest.mark.parametrize("kind", ["full", "adaptive"])
EACH_SIZE = pytest.mark.parametrize("n_units", [1, 2, 3, 9, 10, 11, 40, 57])


def softmax_of(n_units, kind):
    softmax = Softmax(E, n_units, kind).double()
    generator = torch.Generator().manual_seed(1)
    for parameter in softmax.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator).double()
    return softmax


def some(n_units, N=30):
    generator = torch.Generator().manual_seed(2)
    outputs = torch.randn(N, E, generator=generator).double()
    return outputs, torch.randint(n_units, (N,), generator=generator)


def softmax_in_numpy(outputs, weights, n_units, kind):
    """The definition: probabilities of a group times those within it."""
    weight, bias, *of_groups = [value.detach().numpy() for value in weights.values()]

    def shares(matrix, offset):
        powers = np.exp(matrix @ outputs.T + offset[:, None])
        return powers / powers.sum(0)

    if kind == "full":
        return shares(weight, bias).T
    edges = [n_units // 10, 4 * n_units // 10, n_units]
    groups = [(a, b) for a, b in pairwise(edges) if a < b]
    frequent = edges[0]
    first = shares(
        np.concatenate([weight[:frequent], of_groups[0]]),
        np.concatenate([bias[:frequent], of_groups[1]]),
    )
    parts = [first[:frequent]]
    for number, (a, b) in enumerate(groups):
        parts.append(first[frequent + number] * shares(weight[a:b], bias[a:b]))
    return np.concatenate(parts).T


@EACH_SOFTMAX
@EACH_SIZE
def test_probabilities_equal_the_definition_and_sum_to_1(n_units, kind):
    softmax = softmax_of(n_units, kind)
    outputs, _ = some(n_units)
    found = softmax.log_probs(outputs).exp().detach().numpy()
    weights = dict(softmax.named_parameters())
    np.testing.assert_allclose(
        found, softmax_in_numpy(outputs.numpy(), weights, n_units, kind), rtol=1e-11
    )
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-12)


@EACH_SOFTMAX
@EACH_SIZE
def test_scores_of_single_units_equal_those_of_all_units(n_units, kind):
    softmax = softmax_of(n_units, kind)
    outputs, units = some(n_units)
    all_units = softmax.log_probs(outputs)
    expected = all_units.gather(1, units[:, None])[:, 0]
    torch.testing.assert_close(softmax.score(outputs, units), expected, rtol=1e-12, atol=1e-12)
    rows = torch.tensor([7, 7, 0, 29, 7, 3])
    units = torch.arange(6) * 11 % n_units
    found = softmax.score(outputs, units, rows)
    torch.testing.assert_close(found, all_units[rows, units], rtol=1e-12, atol=1e-12)


@EACH_SOFTMAX
def test_gradients_of_single_units_equal_those_of_all_units(kind):
    softmax = softmax_of(40, kind)
    outputs, units = some(40)
    outputs.requires_grad_()
    over = [outputs, *softmax.parameters()]
    found = torch.autograd.grad(softmax.score(outputs, units).sum(), over)
    scores = softmax.log_probs(outputs).gather(1, units[:, None])
    for one, expected in zip(found, torch.autograd.grad(scores.sum(), over), strict=True):
        torch.testing.assert_close(one, expected, rtol=1e-11, atol=1e-12)


@EACH_SOFTMAX
def test_half_precision_stays_close_and_normalised(kind):
    softmax = softmax_of(40, kind).float()
    outputs, units = some(40)
    expected = softmax.log_probs(outputs.float())
    with torch.autocast("cpu", torch.bfloat16):
        found = softmax.log_probs(outputs.float())
        scores = softmax.score(outputs.float(), units)
    assert found.dtype == scores.dtype == torch.float32
    torch.testing.assert_close(found.exp().sum(1), torch.ones(30))
    torch.testing.assert_close(found, expected, rtol=0, atol=0.1)  # bfloat16 has 8 bits
    torch.testing.assert_close(scores, found.gather(1, units[:, None])[:, 0])


def test_frequent_units_are_not_in_groups():
    assert Softmax(E, 20_000, "adaptive").groups == [(2000, 8000), (8000, 20_000)]
    assert Softmax(E, 20_000, "full").groups == []
