"""The online half: a chat turn, from a person's text to the tokens that vLLM streams back. Never imports `trainer`."""
