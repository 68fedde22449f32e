"""Decides whether a candidate may be deployed, and with which part of the prompt."""
