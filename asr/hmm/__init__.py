"""features -> emissions; with the HMM's states, graphs and decision trees.

Files in reading order: `gmm`, `trees`, `topology`, `graph`, `paths`, `tree_growth`, `emissions`.
"""
