"""references and hypotheses -> error rates; doesn't import torch.

Files in reading order: `word_graphs`, `error_rates`, `bootstrap`, `detection`, `hints`; from files
to texts: `entries`, `notation`, `lines`, `tables`, `subtitles`, `timed`, `pauses`, `forms`, `ids`,
`pairing`, `transcripts`; from texts to a report: `systems`, `recordings`,
`score_page`.
"""
