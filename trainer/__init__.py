"""Offline: turns rated answers into an adapter and a shorter prompt that a statistical test shows to be no worse.

`run` walks one retrain: `examples` and `redaction` freeze a dataset, `candidate` trains an adapter with `training`, and
`promotion` tests it with `evaluation` and deploys it with `deployment`. `watch` decides when. Of `assistant` the
trainer imports only what renders prompts, retrieves and talks to vLLM.
"""
