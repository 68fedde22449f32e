"""The product measured from outside: what it saves, on real models and real servers.

In: commands. Out: results with versions, commit, seed and machine under `results/`.
"""
