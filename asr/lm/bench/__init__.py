"""language model and texts -> what the model knows: perplexities, samples, judgements, units.

Files in reading order: `perplexity`, `sampling`, `minimal_pairs`, `agreement`, `inspection`,
`inspection_page`.
"""
