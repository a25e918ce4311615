"""text and log_probs or emissions -> when each unit and word was said.

Files in reading order: `times`, `aligner`.
"""
