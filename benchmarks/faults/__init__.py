"""Processes that chat, swap and serve to be killed, and what must hold afterwards.

`worlds` starts `people`, a `swapper` and a server; `ledger` compares what was acknowledged with what is there.
`streams` compares answers with their `references`; `misbehaving` makes a real server fail at one of `swap_steps`.
"""
