"""Counts the calls of a publish and of a reconnect."""
