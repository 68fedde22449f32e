"""The product measured from outside: what it saves, what it bears, on real models and real servers.

In: commands, each a file of this folder. Out: results with versions, commit, seed and machine under `results/`.
What they work with lies in folders: `tasks` (real tasks and the simulated person), `faults` (people, swaps and kills),
`made_up` (data whose truth is known), `large_store`, `servers` (the app and vLLM as processes), `records` (what a
command notes and shows).
"""
