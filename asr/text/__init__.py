"""text <-> tokens.

Files in reading order: `normalisation`, `subword`, `lexicon`, `words`, `tokenizer`, `sentences`,
`phrases`, `spelling`, `punctuation`.
"""
