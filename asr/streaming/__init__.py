"""pieces of a waveform, as they arrive -> texts so far, and segments with words and times.

Files in reading order: `features`, `network`, `pauses`, `partial`, `settings`, `stream`.
"""
