"""sequence -> sequence: one layer of one direction, of each kind of recurrent units.

Torch's own layers wherever they exist. All have the same names of weights (`weight_ih_l0` for the
input, `weight_hh_l0` for the last output, one matrix for each gate) and the same call: inputs
(T, N, F) and a state to outputs (T, N, H) and the state after them.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from asr.networks.equations import gru_output, lstm_state, peephole_state
from asr.networks.peephole import PeepholeLSTM

Cell = Literal["rnn", "rnn-relu", "gru", "lstm", "lstm-peephole"]
"""The kinds of recurrent units; x is the input, h the last output, h' the next one; likewise c.

rnn: Elman's units, h' = tanh(W x + U h + b).
rnn-relu: the same with max(0, ...) in place of tanh.
gru: gated recurrent units, r = sigmoid(W_r x + U_r h + b_r), z = sigmoid(W_z x + U_z h + b_z),
    n = tanh(W_n x + b_n + r (U_n h + d_n)), h' = (1 - z) n + z h.
lstm: long short-term memory, i, f, o = sigmoid(W x + U h + b), each with its own weights,
    c' = f c + i tanh(W_g x + U_g h + b_g), h' = o tanh(c'). With a projection, h' = P (o tanh(c')).
lstm-peephole: the same, but the gates also see the cell; see `asr.networks.peephole`.

Source: Elman 1990, "Finding structure in time"; Le, Jaitly and Hinton 2015, arXiv:1504.00941
(rnn-relu); Cho et al. 2014, arXiv:1406.1078, but with the reset gate where torch has it; Hochreiter
and Schmidhuber 1997, with the forget gate of Gers, Schmidhuber and Cummins 2000; Sak, Senior and
Beaufays 2014, arXiv:1402.1128 (projection).
"""

N_GATES: dict[str, int] = {"rnn": 1, "rnn-relu": 1, "gru": 3, "lstm": 4, "lstm-peephole": 4}
"""Number of gates of each cell; each has a matrix for the input and one for the last output."""

LSTMS = ("lstm", "lstm-peephole")
"""The cells whose state is an output and a cell; that of the others is the output alone."""

Initialisation = Literal["torch", "uniform", "xavier", "orthogonal"]
"""How weights begin; the matrix of each gate is initialised on its own.

torch: recurrent weights and biases uniform within 1 / sqrt(H) of 0, H being the number of units.
uniform: uniform within 1 / sqrt(n) of 0 for a matrix with n columns.
xavier: uniform within sqrt(6 / (rows + columns)) of 0, which keeps the variance of values and
    gradients from layer to layer.
orthogonal: as xavier, but with orthogonal recurrent matrices, which keep the length of what they
    multiply from frame to frame.

Source: Glorot and Bengio 2010; Saxe, McClelland and Ganguli 2014, arXiv:1312.6120.
"""

State = tuple[Tensor, ...]
"""A layer's state: its last output, (N, H), and the cell of an LSTM."""


def new_layer(
    cell: Cell,
    input_size: int,
    hidden_size: int,
    projection_size: int = 0,
    forget_bias: float = 1.0,
) -> nn.Module:
    """A layer of one direction.

    Args:
        cell: the kind of recurrent units.
        input_size: number of values in a frame of the input.
        hidden_size: number of units.
        projection_size: size of an LSTM's output after a learned projection; 0 for none.
        forget_bias: initial bias of an LSTM's forget gate; with 1 it begins open, so that gradients
            reach far back from the first step on (Jozefowicz, Zaremba and Sutskever 2015).
    """
    if cell == "gru":
        return nn.GRU(input_size, hidden_size)
    if cell not in LSTMS:
        return nn.RNN(
            input_size, hidden_size, nonlinearity="relu" if cell == "rnn-relu" else "tanh"
        )
    layer = (
        nn.LSTM(input_size, hidden_size, proj_size=projection_size)
        if cell == "lstm"
        else PeepholeLSTM(input_size, hidden_size)
    )
    for name in ("bias_ih_l0", "bias_hh_l0"):  # gates in the order i, f, g, o
        of_forget = layer.get_parameter(name)[hidden_size : 2 * hidden_size]
        nn.init.constant_(of_forget, forget_bias / 2)
    return layer


@torch.no_grad()
def initialise(module: nn.Module, kind: Initialisation) -> None:
    """Initialise all matrices of a module; biases and peepholes stay as they are."""
    if kind == "torch":
        return
    for part in module.modules():
        for name, values in part.named_parameters(recurse=False):
            if values.ndim == 1 or "peephole" in name:
                continue
            rows = part.hidden_size if isinstance(part, _LAYERS) else len(values)
            for matrix in values.split(rows):
                if kind == "uniform":
                    nn.init.uniform_(matrix, -(matrix.shape[1] ** -0.5), matrix.shape[1] ** -0.5)
                elif kind == "orthogonal" and name == "weight_hh_l0":
                    nn.init.orthogonal_(matrix)
                else:
                    nn.init.xavier_uniform_(matrix)


def read(
    layer: nn.Module,
    inputs: Tensor,
    state: State | None = None,
    lengths: Tensor | None = None,
    recurrent_dropout: float = 0.0,
) -> tuple[Tensor, State]:
    """Outputs of a layer, and its state after each sequence's last frame.

    Args:
        layer: from `new_layer`.
        inputs: (T, N, F).
        state: before the first frame; None for zeros.
        lengths: (N,), int64, from 1 to T; None if all sequences have T frames.
        recurrent_dropout: share of the weights of the last output that is set to 0.

    Returns:
        outputs: (T, N, H); undefined after a sequence's end.
        state: of all sequences.
    """
    weights = {}
    if recurrent_dropout:
        weights["weight_hh_l0"] = F.dropout(layer.get_parameter("weight_hh_l0"), recurrent_dropout)
    begin: tuple[Tensor, ...] | Tensor | None = None
    if state is not None:
        parts = tuple(part[None].contiguous() for part in state)
        begin = parts if is_lstm(layer) else parts[0]
    if isinstance(layer, PeepholeLSTM):
        outputs, end = functional_call(layer, weights, (inputs, begin, lengths))
    elif lengths is None:
        outputs, end = functional_call(layer, weights, (inputs, begin))
    else:
        # on padded input torch returns the state after the padding, on packed input the state after
        # each sequence's end
        packed = pack_padded_sequence(inputs, lengths.cpu(), enforce_sorted=False)
        packed, end = functional_call(layer, weights, (packed, begin))
        outputs, _ = pad_packed_sequence(packed, total_length=len(inputs))
    return outputs, tuple(part[0] for part in end) if is_lstm(layer) else (end[0],)


def step(layer: nn.Module, from_input: Tensor, state: State) -> State:
    """A layer's state one frame later, in the precision of the state.

    Args:
        layer: from `new_layer`.
        from_input: (N, R), from `input_product`.
        state: (N, H) each.
    """
    from_input = from_input.to(state[0].dtype)
    from_output = recurrent_product(layer, state[0])
    if isinstance(layer, nn.RNN):
        total = from_input + from_output
        return (total.relu() if layer.nonlinearity == "relu" else total.tanh(),)
    if isinstance(layer, nn.GRU):
        return (gru_output(from_input, from_output, state[0]),)
    if isinstance(layer, PeepholeLSTM):
        return peephole_state(from_input + from_output, state[1], layer.weight_peephole_l0)
    output, cell = lstm_state(from_input + from_output, state[1])
    if isinstance(layer, nn.LSTM) and layer.proj_size:
        output = F.linear(output, layer.get_parameter("weight_hr_l0"))
    return output, cell


def input_product(layer: nn.Module, inputs: Tensor) -> Tensor:
    """The product of a layer's inputs with their weights: (N, F) -> (N, R)."""
    return _product(layer, "ih", inputs)


def recurrent_product(layer: nn.Module, outputs: Tensor) -> Tensor:
    """The product of a layer's last outputs with their weights: (N, H) -> (N, R)."""
    return _product(layer, "hh", outputs)


def is_lstm(layer: nn.Module) -> bool:
    """Whether the layer's state has a cell beside the output."""
    return isinstance(layer, nn.LSTM | PeepholeLSTM)


_LAYERS = (nn.RNN, nn.GRU, nn.LSTM, PeepholeLSTM)


def _product(layer: nn.Module, kind: str, values: Tensor) -> Tensor:
    names = f"weight_{kind}_l0", f"bias_{kind}_l0"
    return F.linear(values, *map(layer.get_parameter, names))
