"""From rated answers to the examples of a dataset.

`dataset` walks the path: collect (`selection`, `outlier_raters`) → redaction → fit to the model's context →
`deduplicate` (near-duplicates, splits) → freeze.
"""
