"""command line -> calls of the package -> lines on stdout.

Files in reading order: `usage`, `options`, `output`, `score_results`, `score`, `audio_files`,
`progress`, `transcript_output`, `stream_output`, `transcribe`, `align`, `info`, `diagnose`,
`models`, `manifest`, `lm_results`, `lm`, `app`, `__main__`.
"""
