"""Personal data and secrets in examples to typed placeholders, before a dataset is frozen.

In: the texts of one example. Out: the same texts with `<EMAIL_1>` and the like. Place in the flow: between `intake` and
the dataset, called by `freezing` alone. `finding` asks the detectors, `replacing` numbers what they found, `cleaning`
applies it to an intake. Stored conversations are never changed.
"""
