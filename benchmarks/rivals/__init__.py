"""Applications of the rivals, each run in a virtual environment of its own."""
