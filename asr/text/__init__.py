"""text <-> tokens.

Files in reading order: `normalisation`, `jamo`, `subword`, `lexicon`, `words`, `tokenizer`,
`sentences`, `phrases`, `spelling`, `punctuation`.
"""
