"""file -> waveform -> features.

Files in reading order: `content`, `container`, `mpeg`, `signatures`, `extent`, `wav`, `plain`,
`voc`, `flac`, `ogg`, `matroska`, `media`, `inspection`, `decoders`, `memory`, `cancellation`,
`load`, `live`, `waveform`, `silero`, `voice_activity`, `segments`, `augment`, `features`.
"""
