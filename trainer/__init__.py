"""OFFLINE: rated answers to an adapter and a shorter prompt that is proven to be no worse.

The flow, a module a step: `selection` → `splits` → `dataset` → `finetune` (`rung_sampling`, `packing`) →
`publish` → `ladder` → `evaluate` → `gate` → `swap` → `probe`; `run` walks it, `watch` decides when. Imports
from `assistant` only what renders prompts and what talks to vLLM.
"""
