"""recordings with texts -> batches.

Files in reading order: `manifest`, `recordings`, `batching`, `dataset`, `download`, `official`,
`letter_to_sound`.
"""
