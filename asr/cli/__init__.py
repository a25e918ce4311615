"""what the user typed -> functions of the package -> lines on stdout.

Files in reading order: `score`, `transcribe`, `info`, `manifest`, `lm_results`, `lm`, `app`,
`__main__`.
"""
