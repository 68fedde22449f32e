"""The web pages: chat, prompt, training, savings. The only place that imports Gradio."""
