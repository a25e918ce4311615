"""features -> emissions; the states, graphs and trees that they belong to.

Files in reading order: `gmm`, `trees`, `topology`, `graph`, `paths`, `em`, `fit`,
`tree_growth`, `emissions`.
"""
