"""ONLINE: a chat turn, from the person's text to the tokens that vLLM streams back.

In: people and the store. Out: answers, usage and ratings in the store. Never imports `trainer`.
"""
