"""text -> log-probability: language models of words, characters and pieces.

Files in reading order: `vocabulary`, `ngram_trie`, `arpa`, `ngram`, `kenlm`, `estimate`,
`pruning`, `softmax`, `rnnlm`, `unknown_words`, `load`.
"""
