"""features -> log_probs.

Files in reading order: `kernels`, `peephole_steps`, `peephole_gpu`, `peephole`, `cells`,
`recurrent`, `chunks`, `acoustic`, `ctc`.
"""
