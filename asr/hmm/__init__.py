"""features -> emissions; with the HMM's states, graphs and decision trees.

Files in reading order: `gmm`, `trees`, `topology`, `graph`, `paths`, `em`, `fit`,
`tree_growth`, `emissions`.
"""
