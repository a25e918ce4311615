"""features -> log_probs.

Files in reading order: `kernels`, `peephole`, `peephole_gpu`, `cells`, `recurrent`,
`acoustic`, `ctc`.
"""
