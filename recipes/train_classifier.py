"""Train a network that gives whole utterances one label: settings -> data -> model -> fit -> save.

python recipes/train_classifier.py --config conf/fsdd/classifier.yaml --out exp/fsdd/classifier

The label is the text of the utterance, one word. The network is that of `train_ctc.py`, but its
outputs are averaged over all frames. With one output frame and one token, the CTC loss is the
cross-entropy of the labels, so everything else is as there.
"""

from train_ctc import train

from asr.errors import reported


def main() -> None:
    train("train_classifier", is_classifier=True)


if __name__ == "__main__":
    with reported("train_classifier"):
        main()
