"""Makes the pictures of docs/images: `python -m docs.screenshots`. Takes three minutes."""
