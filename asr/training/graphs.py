"""texts and an HMM -> graphs of all pronunciations; too short utterances are refused."""

from collections.abc import Sequence

from torch import Tensor

from asr.audio.features import FeatureSettings
from asr.corpus.manifest import Utterance
from asr.errors import InputError, listed
from asr.hmm.graph import Graph, utterance_graph
from asr.hmm.topology import Topology
from asr.text.tokenizer import PhoneTokenizer


def text_graphs(
    utterances: Sequence[Utterance], tokenizer: PhoneTokenizer, topology: Topology, manifest: str
) -> list[Graph]:
    """The graph of each utterance's text.

    Args:
        utterances: all their words must have pronunciations.
        tokenizer: gives the pronunciations.
        topology: of the HMM.
        manifest: path, for the error message.

    Raises:
        InputError: the HMM has no silence, and some texts are empty; the message names the
            utterances.
    """
    texts = [utterance.text.split() for utterance in utterances]
    silent = [u.id for u, words in zip(utterances, texts, strict=True) if not words]
    if silent and not topology.silence:
        named = listed(silent)
        raise InputError(
            f"{manifest}: empty texts of {named}; expected words, or an HMM with silence"
        )
    spoken = ([tokenizer.pronunciations(word) for word in words] for words in texts)
    return [utterance_graph(words, topology) for words in spoken]


def refuse_short(
    utterances: Sequence[Utterance],
    graphs: Sequence[Graph],
    features: FeatureSettings,
    manifest: str,
    remedy: str,
    fastest: float = 1.0,
) -> None:
    """Raise InputError naming utterances with fewer frames than their words have states.

    Args:
        utterances: with the durations of the manifest.
        graphs: of their texts.
        features: how frames are computed.
        manifest: path, for the error message.
        remedy: for the error message: an alternative to removing the utterances.
        fastest: highest speed factor of the augmentation; frames are counted at this speed.
    """
    short = []
    for utterance, graph in zip(utterances, graphs, strict=True):
        n_frames = features.n_frames(round(utterance.duration * features.sample_rate / fastest))
        if n_frames < graph.shortest:
            short.append(f"{utterance.id} ({n_frames} for {graph.shortest})")
    if short:
        raise InputError(
            f"{manifest}: {len(short)} of {len(utterances)} utterances have fewer frames than their"
            f" words have states: {listed(short)}; take them out of the manifest, or {remedy}"
        )


def refuse_impossible(ids: Sequence[str], finite: Tensor) -> None:
    """Raise InputError naming the utterances without a finite likelihood; `finite`: (N,), bool."""
    refused = [id for id, is_finite in zip(ids, finite.tolist(), strict=True) if not is_finite]
    if refused:
        raise InputError(
            f"no finite likelihood of {listed(refused)}; expected finite audio, as long as the"
            " manifest says"
        )
