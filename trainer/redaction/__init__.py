"""Replaces personal data and secrets in examples by typed placeholders (`<EMAIL_1>`) before a dataset is frozen."""
