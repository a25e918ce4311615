"""log_probs or emissions -> nbest -> the same, re-ordered.

Files in reading order: `threads`, `nbest`, `greedy`, `lexicon_tree`, `phrases`, `space`,
`extensions`, `candidates`, `lm_states`, `fusion`, `alternatives`, `backtrace`, `prefixes`,
`beam`, `hmm_beam`, `flashlight`, `rescore`, `utterance`, `tuning`.
"""
