"""model and manifest -> measured systems.

Files in reading order: `results`, `log_probs`, `comparison`, `report`, `picture`, `views`.
"""
