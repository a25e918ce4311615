"""model and manifest -> measured systems.

Files in reading order: `provenance`, `results`, `log_probs`, `comparison`, `report`, `picture`,
`views`.
"""
