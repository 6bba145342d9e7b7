"""Runs beside what keeps nothing, and beside the same over Redis."""
