import pytest
import torch
from conftest import PITCH_HZ
from matplotlib.image import imread

from asr.audio.features import Features
from asr.corpus.manifest import read_manifest
from asr.errors import InputError
from asr.evaluation.views import _posteriors, draw_views
from asr.hmm.emissions import GmmEmissions
from asr.hmm.gmm import Gmm
from asr.hmm.topology import left_to_right
from asr.model import Model, load_model
from asr.text.lexicon import Lexicon
from asr.text.tokenizer import PhoneTokenizer


@pytest.fixture(scope="module")
def utterance(tone_model):
    return read_manifest(tone_model.parent / "tones" / "dev.jsonl")[0]


def hmm_of(network, words):
    """An untrained HMM on the network's features, with these words spelled in letters."""
    lexicon = Lexicon({word: (tuple(word),) for word in words})
    phones = PhoneTokenizer.from_lexicon(lexicon)
    topology = left_to_right(len(phones.symbols), 1, 1)
    S, F = len(topology.self_loops), network.features.settings.n_features
    gmm = Gmm(torch.zeros(S, 1), torch.zeros(S, 1, F), torch.ones(S, 1, F))
    return Model(Features(network.features.settings), GmmEmissions(gmm), phones, {}, topology)


def test_a_picture_can_be_drawn_of_any_models(tone_model, utterance, tmp_path):
    network = load_model(tone_model)
    hmm = hmm_of(network, utterance.text.split())
    draw_views(tmp_path / "picture.png", utterance, hmm, [network])
    assert imread(tmp_path / "picture.png").shape[0] > 600


def test_posteriors_have_the_texts_units_and_blank(tone_model, utterance):
    track = _posteriors(load_model(tone_model), utterance)
    assert set(track.units) == {""} | set(utterance.text)
    assert set(track.units) <= {"", " ", *PITCH_HZ}
    assert track.probabilities.shape == (len(track.times) - 1, len(track.units))
    assert track.probabilities.sum(1) == pytest.approx(1.0, abs=0.2)


def test_a_word_missing_from_the_hmms_lexicon_is_reported(tone_model, utterance, tmp_path):
    network = load_model(tone_model)
    with pytest.raises(InputError, match="no pronunciation in the model's lexicon for"):
        draw_views(tmp_path / "picture.png", utterance, hmm_of(network, ["ba"]), [network])
