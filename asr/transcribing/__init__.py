"""transcripts -> files: txt, JSON, SRT, WebVTT, CTM and Praat's TextGrid.

Files in reading order: `captions`, `writers`.
"""
