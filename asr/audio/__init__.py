"""file -> waveform -> features.

Files in reading order: `container`, `load`, `waveform`, `augment`, `features`.
"""
