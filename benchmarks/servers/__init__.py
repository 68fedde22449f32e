"""The app, vLLM and the fake vLLM of the tests, each as a process of its own that ends with its context."""
