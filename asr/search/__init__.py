"""log_probs or emissions -> nbest -> the same, re-ordered.

Files in reading order: `nbest`, `greedy`, `lexicon_tree`, `phrases`, `space`, `compiled`,
`language_models`, `tables`, `prefixes`, `candidates`, `pruning`, `backtrace`, `searches`, `beam`,
`hmm_beam`, `flashlight`, `rescore`, `posteriors`, `confidence`, `utterance`, `tuning`.
"""
