"""model and manifest -> measured systems.

Files in reading order: `provenance`, `calibration`, `results`, `result_files`, `text_case`,
`log_probs`, `comparison`, `streams`, `report`, `card`, `picture`, `views`, `diagnosis`,
`diagnosis_page`, `gradient_costs`, `remember_report`, `punctuation`.
"""
