"""Trains an adapter on a frozen dataset and publishes it."""
