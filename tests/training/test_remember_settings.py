import pytest
from conftest import ROOT

from asr.config import check_file, settings_parser
from asr.errors import InputError
from asr.training.remember_settings import (
    CostSettings,
    CountingSettings,
    RecallSettings,
    RememberSettings,
    UpdateSettings,
)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UpdateSettings(n_updates=0), "updates.n_updates is 0; expected 1 or more"),
        (lambda: UpdateSettings(lr=0.0), "updates.lr is 0.0; expected above 0, and finite"),
        (lambda: UpdateSettings(solved_loss=float("nan")), "updates.solved_loss is nan; expected"),
        (lambda: CountingSettings(length=1), "counting.length is 1; expected 2 or more"),
        (lambda: RecallSettings(cells=()), "recall.cells is empty; expected one or more"),
        (lambda: RecallSettings(distances=(4, 0)), "recall.distances is 0; expected 1 or more"),
        (lambda: RecallSettings(hidden_size=10**9), "recall.hidden_size is .*; expected at most"),
        (lambda: CostSettings(lengths=()), "costs.lengths is empty; expected one or more"),
        (lambda: CostSettings(lengths=(2,)), "costs.lengths is 2; expected 3 or more"),
        (lambda: RememberSettings(seed=-1), "seed is -1; expected"),
        (lambda: RememberSettings(chunk=0), "chunk is 0; expected 1 or more"),
        (lambda: RememberSettings(gradients=()), "gradients is empty; expected one or more"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_settings_in_the_repository_are_valid():
    parser = settings_parser("remember", RememberSettings)
    check_file(parser, ROOT / "conf/sequences/remember.yaml")
