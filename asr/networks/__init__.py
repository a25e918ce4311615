"""features -> log_probs.

Files in reading order: `kernels`, `recurrent`, `acoustic`, `ctc`, `cells`,
`through_time`.
"""
