"""System checks: what is wrong with the settings, before it goes wrong in production."""
