"""The product measured from outside: what it saves and what it bears, on real models and real servers.

Each file of this folder with a `main` is a command, described in docs/benchmarks.md; the folders hold what they share.
"""
