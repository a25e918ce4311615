"""features -> log_probs.

Files in reading order: `recurrent`, `acoustic`, `ctc`.
"""
