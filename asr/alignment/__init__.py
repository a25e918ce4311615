"""text and log_probs or emissions -> times of units and words (forced alignment).

Files in reading order: `times`, `trellis`, `pieces`, `aligner`, `transcript`.
"""
