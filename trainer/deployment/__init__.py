"""A proven pair of adapter and prompt to the one that answers, and back: `swap`, `probe`, then `regression` and
`rollback` for as long as it serves.
"""
