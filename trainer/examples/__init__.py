"""From rated answers to the examples of a dataset.

`draft` walks the path: `collect` (approval, `raters`, `outlier_raters`) → redaction → fit to the model's context →
`deduplicate` (near-duplicates, `splits`). `snapshot` freezes the `dataset`; `contradictions` and `comparison` are for
people.
"""
