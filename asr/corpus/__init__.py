"""recordings with texts -> batches.

Files in reading order: `manifest`, `recordings`, `cache`, `batching`, `dataset`, `reading`,
`download`, `official`, `spoken_text`, `letter_to_sound`.
"""
