"""Rated answers to the examples of a dataset: which are approved, whose ratings count, what asks the same, what proves
and what trains.

The flow: `selection` (`raters`, `quarantine`) → `splits` → `intake` → `thinning` (`similar`, `wording`) → `dataset`.
`contradictions`, `reasons` and `versions` say what became of an answer, and why.
"""
