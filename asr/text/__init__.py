"""text <-> tokens.

Files in reading order: `normalisation`, `subword`, `lexicon`, `tokenizer`, `sentences`.
"""
