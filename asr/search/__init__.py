"""log_probs or emissions -> nbest -> the same, re-ordered.

To follow the beam search, read `space` and `beam` first, then the files that `beam` imports. Words
of its code:

- prefix: a partial hypothesis, tokens without blanks. Extensions of it have one token more.
- ending: what the alignments of a prefix end in: its last token or blank; or a state of an HMM.
- beam: the prefixes that are kept after a frame; candidates are extensions that may enter it.
- score: acoustic log-probability + other score: language model, look-ahead, word bonus, phrases.
- look-ahead: the best that the language model may add for a word that has only begun.
- equivalent: of prefixes whose scores every continuation changes alike. Only the best is kept.
- drop: a prefix removed for an equivalent one. It returns in the n-best list as a branch.
- onset: the frame in which the last token of a prefix begins.

Files in reading order: `nbest`, `greedy`, `lexicon_tree`, `phrases`, `space`, `compiled`,
`language_models`, `tables`, `prefixes`, `candidates`, `pruning`, `backtrace`, `searches`, `beam`,
`hmm_beam`, `flashlight`, `rescore`, `posteriors`, `confidence`, `utterance`, `tuning`.
"""
