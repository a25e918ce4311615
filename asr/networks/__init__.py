"""features -> log_probs; words -> their punctuation.

Files in reading order: `kernels`, `equations`, `through_time`, `peephole_steps`, `peephole_gpu`,
`peephole`, `cells`, `recurrent`, `chunks`, `acoustic`, `memory`, `ctc`, `crf`,
`tagger`.
"""
