"""OFFLINE: rated answers to an adapter and a shorter prompt that is proven to be no worse.

The flow, a module a step: `selection` → `splits` → `intake` → `freezing` → `sweep` → `finetune` (`rung_sampling`,
`packing`) → `publish` → `ladder` → `evaluate` → `gate` → `swap` → `probe`; `run` walks it and goes on after a kill
(`resumption`), `watch` decides when, `rerun` walks to `publish` again from a run's record. Imports from `assistant`
only what renders prompts and what talks to vLLM.
"""
