"""language model and texts -> perplexities, samples, accuracies on minimal pairs, activations.

Files in reading order: `perplexity`, `sampling`, `minimal_pairs`, `agreement`, `inspection`,
`inspection_page`.
"""
