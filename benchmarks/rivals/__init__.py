"""Applications of the rivals, each run in a separate virtual environment."""
