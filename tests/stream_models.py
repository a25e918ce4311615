"""Recognisers with small random networks, for tests of streams."""

import math

import numpy as np
import torch
from conftest import PITCH_HZ, SAMPLE_RATE

from asr.audio.features import Features, FeatureSettings
from asr.decoder import Decoder, DecoderSettings
from asr.hmm.emissions import HybridEmissions
from asr.hmm.topology import Topology
from asr.model import Model
from asr.networks.acoustic import AcousticModel, AcousticSettings
from asr.recognizer import Recognizer
from asr.text.lexicon import Lexicon
from asr.text.tokenizer import BLANK_SYMBOL, CharTokenizer, PhoneTokenizer

RATE = 2000
CHARS = CharTokenizer((BLANK_SYMBOL, " ", "a", "b", "c"))
PHONES = PhoneTokenizer(
    (BLANK_SYMBOL, "P", "Q"), Lexicon({"pea": (("P",),), "queue": (("Q", "P"),)})
)
FEATURES = {"sample_rate": RATE, "n_mels": 6, "n_mfcc": 4, "low_hz": 50.0}
MODEL = {"hidden_size": 8, "n_layers": 2, "dropout": 0.0, "time_reduction": 2}

KINDS = {
    "plain": ({}, {}),
    "convolutions": ({}, {"conv_channels": 2, "time_reduction": 3}),
    "deltas": ({"kind": "mfcc", "n_deltas": 2, "n_spliced": 1}, {"time_reduction": 1}),
    "pyramid": ({}, {"pyramid": (2,), "cell": "gru"}),
    "forward": ({"normalisation": "none"}, {"bidirectional": False}),
}
"""Settings of the features and of the network."""


def recognizer_of(
    kind="plain", seed=1, decoder="greedy", normalisation=None, tokenizer=CHARS, **more
):
    """A CTC recogniser whose greedy text changes often; `more` are settings of its network."""
    features, network = KINDS[kind]
    if normalisation:
        features = features | {"normalisation": normalisation}
    features = Features(FeatureSettings(**FEATURES | features)).eval()
    torch.manual_seed(seed)
    settings = AcousticSettings(**MODEL | network | more)
    acoustic = AcousticModel(features.settings.n_features, len(tokenizer.symbols), settings).eval()
    with torch.no_grad():
        acoustic.output.weight *= 12
    decoding = DecoderSettings(decoder) if isinstance(decoder, str) else decoder
    return Recognizer(Model(features, acoustic, tokenizer), Decoder.load(decoding, tokenizer))


def hybrid_recognizer(seed=0):
    """A hybrid with two states for each phone and one for the silence."""
    features = Features(FeatureSettings(**FEATURES)).eval()
    torch.manual_seed(seed)
    settings = AcousticSettings(**MODEL | {"time_reduction": 1})
    acoustic = HybridEmissions(6, 5, settings).eval()
    with torch.no_grad():
        acoustic.network.output.weight *= 6
        acoustic.log_priors += torch.rand(5).log_softmax(0)
    pdfs = torch.tensor([[-1, -1], [0, 1], [2, 3]])
    topology = Topology(pdfs, (4,), torch.full((5,), 0.6).log())
    model = Model(features, acoustic, PHONES, topology=topology)
    decoder = Decoder.load(DecoderSettings("beam"), PHONES, topology=topology)
    return Recognizer(model, decoder)


def tone_recognizer():
    """A network whose weights are set by hand: it writes the letters of `conftest.spoken`.

    Each unit is on while the band of its letter's tone is loud.
    """
    settings = FeatureSettings(SAMPLE_RATE, n_mels=12, normalisation="none")
    features = Features(settings).eval()
    network = AcousticSettings(1, 0, "rnn", 2, 1, dropout=0.0, layer_norm=False)
    acoustic = AcousticModel(12, 4, network).eval()
    tokenizer = CharTokenizer((BLANK_SYMBOL, " ", "a", "b"))
    with torch.no_grad():
        for weight in acoustic.parameters():
            weight.zero_()
        acoustic.output.bias += torch.tensor([0.0, -20.0, 0.0, 0.0])
        for unit, hz in enumerate(PITCH_HZ.values()):
            tone = 0.3 * torch.sin(2 * math.pi * hz * torch.arange(400) / SAMPLE_RATE)
            levels = features(tone[None], torch.tensor([400]))[0].mean((0, 1))
            for layer in (acoustic.stack.forwards[0], acoustic.stack.backwards[0]):
                layer.weight_ih_l0[unit, levels.argmax()] = 1.0
                layer.bias_ih_l0[unit] = 3.0 - levels.max()
            acoustic.output.weight[2 + unit, unit::2] = 5.0
            acoustic.output.weight[0, unit::2] = -5.0
    return Recognizer(Model(features, acoustic, tokenizer))


def changing_noise(duration_s, seed=0):
    """Noise whose loudness and colour change every tenth of a second."""
    generator = np.random.default_rng(seed)
    parts = []
    for _ in range(round(10 * duration_s)):
        noise = generator.normal(0, 10 ** generator.uniform(-3, -1), RATE // 10)
        parts.append(np.convolve(noise, generator.normal(0, 1, 3), "same"))
    return torch.from_numpy(np.concatenate(parts).clip(-1, 1).astype(np.float32))


def random_pieces(waveform, seed=0):
    """The same samples in pieces of 0 to 0.2 s."""
    generator = np.random.default_rng(seed)
    pieces, first = [], 0
    while first < len(waveform):
        end = first + int(generator.integers(0, RATE // 5))
        pieces.append(waveform[first:end])
        first = end
    return pieces
