import torch

from asr.networks.peephole_steps import Slopes, backward_step, forward_step, slopes_of


def test_a_step_and_its_gradients_equal_autograds():
    torch.manual_seed(0)
    N, H = 3, 4
    from_input, of_gates_after = torch.randn(2, N, 4 * H).double()
    output, cell, of_output, of_cell = torch.randn(4, N, H).double()
    weight, peepholes = torch.randn(4 * H, H).double(), torch.randn(3, H).double()
    from_input.requires_grad_()
    cell.requires_grad_()

    i, f, g, o = (from_input + output @ weight.T).chunk(4, 1)
    i, f = (i + peepholes[0] * cell).sigmoid(), (f + peepholes[1] * cell).sigmoid()
    new_cell = f * cell + i * g.tanh()
    new_output = (o + peepholes[2] * new_cell).sigmoid() * new_cell.tanh()
    arrives = of_output + of_gates_after @ weight
    loss = (new_output * arrives).sum() + (new_cell * of_cell).sum()
    expected = torch.autograd.grad(loss, [from_input, cell])

    with torch.no_grad():
        gates, found, found_cell = torch.empty(N, 4, H).double(), *torch.empty(2, N, H).double()
        forward_step(from_input, output, cell, weight, peepholes, gates, found, found_cell)
        slopes = slopes_of(gates, found_cell, cell)
        of_gates = torch.empty(N, 4, H).double()
        after = of_gates_after.view(N, 4, H)
        backward_step(after, of_output, of_cell, weight, peepholes, slopes, of_gates)
    assert isinstance(slopes, Slopes)
    for ours, reference in (
        (found, new_output),
        (found_cell, new_cell),
        (of_gates.flatten(1), expected[0]),
        (of_cell, expected[1]),
    ):
        torch.testing.assert_close(ours, reference, rtol=1e-12, atol=1e-14)
