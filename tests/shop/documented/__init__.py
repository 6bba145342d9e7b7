"""The app of the models that pages of the documentation define."""
