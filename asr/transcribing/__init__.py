"""audio files -> transcripts -> files: txt, JSON, SRT, WebVTT, CTM and Praat's TextGrid.

Files in reading order: `files`, `captions`, `writers`, `punctuation`.
"""
