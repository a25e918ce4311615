"""references and hypotheses -> error rates; imports no torch.

Files in reading order: `error_rates`, `bootstrap`, `transcripts`.
"""
