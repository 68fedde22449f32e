"""A published candidate to a verdict: the prompts that it may be served with, and whether each is no worse.

The flow: `variants` (`helpfulness`) → `gating`, which generates (`evaluate`) and scores (`scorers`, `sql`, `judge`) →
`gate`, which decides (`statistics`, `guards`) → `proposing` and `hearing` for answers that nobody has seen yet. Does
not train and does not swap.
"""
