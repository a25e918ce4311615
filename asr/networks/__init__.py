"""features -> log_probs; words -> their punctuation.

Files in reading order: `kernels`, `recurrent`, `acoustic`, `ctc`, `tagger`.
"""
