"""What programs call: OpenAI's routes, so that a client changes its base URL and nothing else."""
