"""corpus -> model; the only folder of the package that imports Lightning.

Files in reading order: `checkpoints`, `memory`, `callbacks`, `run`, `optim`, `utterances`,
`speech_data`, `token_trigram`, `ctc`, `ablation`, `graphs`, `stream`, `hmm_settings`, `triphones`,
`hmm_data`, `hmm`, `hybrid_data`, `hybrid`, `ngram`, `lm`, `remember_settings`, `remember`,
`tagged_text`, `punctuation_data`, `punctuation`.
"""
