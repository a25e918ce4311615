"""command line -> calls of the package -> lines on stdout.

Files in reading order: `options`, `output`, `score`, `transcribe`, `align`, `info`,
`manifest`, `lm_results`, `lm`, `app`, `__main__`.
"""
