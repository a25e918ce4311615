"""file -> waveform -> features.

Files in reading order: `content`, `container`, `mpeg`, `heads`, `extent`, `wav`, `plain`, `flac`,
`ogg`, `matroska`, `media`, `inspection`, `decoders`, `memory`, `load`, `waveform`, `augment`,
`features`.
"""
