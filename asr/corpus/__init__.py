"""recordings with texts -> batches.

Files in reading order: `manifest`, `batching`, `dataset`, `download`, `official`,
`letter_to_sound`.
"""
