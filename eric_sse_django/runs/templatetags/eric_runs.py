"""`{% load eric_runs %}`: a run's output in a page, with what continues it."""
