"""Processes that chat, swap and serve to be killed, and what must hold afterwards."""
