"""A frozen dataset to a published adapter, and the only modules that train.

The flow: `rows` (`variant_sampling`, `packing`, `teacher`) → `sweep` → `finetune` (`lora`, `objective`, `curve`,
`checkpoints`) → `preferences` (`pairs`, `dpo`) → `publish`.
"""
