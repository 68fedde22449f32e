"""OFFLINE: rated answers to an adapter and a shorter prompt that is proven to be no worse.

`run` walks the steps of one retrain, and goes on after a kill (`resumption`):

    examples/ → `freezing` with redaction/ → `candidate` with learning/ → `proving` with proof/ → swapping/

`watch` decides when, `rerun` walks to the adapter again from a run's record, `report` says what came of it. A package
imports those to its left, and what all have in common lies beside `run`. Imports from `assistant` only what renders
prompts and what talks to vLLM.
"""
