"""Real tasks and the person who is simulated: a task file to rated answers, retrains and measurements.

The flow of a loop: `task` → `schedule` → `asking` (`person`) → `retrain` → `judging` → `measure` → `round_record` →
`result` → `picture`; `walk` walks it. `trial` is one variant (`variants`) of an ablation.
"""
