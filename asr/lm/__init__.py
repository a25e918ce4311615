"""text -> log-probability: language models of words, characters and subwords.

Files in reading order: `vocabulary`, `protocol`, `ngram_trie`, `ngram_packed`, `arpa`, `ngram`,
`kenlm`, `estimate`, `mixture`, `rnnlm`, `load`.
"""
