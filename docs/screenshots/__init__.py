"""Create the screenshots in docs/images: `python -m docs.screenshots`. Takes three minutes."""
