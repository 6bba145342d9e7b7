"""Compares the costs of a full log and of an empty one, on PostgreSQL."""
