"""A real task and a simulated user: questions, ratings, retrains and measurements."""
