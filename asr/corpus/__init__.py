"""recordings with texts -> batches.

Files in reading order: `manifest`, `cache`, `batching`, `dataset`, `reading`, `download`,
`official`, `letter_to_sound`.
"""
