"""model and manifest -> measured systems.

Files in reading order: `provenance`, `results`, `result_files`, `log_probs`, `comparison`,
`report`, `picture`, `views`.
"""
