"""file -> waveform -> features.

Files in reading order: `container`, `load`, `augment`, `features`.
"""
