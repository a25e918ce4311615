"""file -> waveform -> features.

Files in reading order: `content`, `container`, `plain`, `mpeg`, `flac`, `ogg`, `media`,
`inspection`, `decoders`, `memory`, `load`, `waveform`, `augment`, `features`.
"""
