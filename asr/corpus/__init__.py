"""recordings with texts -> batches.

Files in reading order: `manifest`, `recordings`, `cache`, `batching`, `dataset`, `reading`,
`download`, `official`, `letter_to_sound`.
"""
