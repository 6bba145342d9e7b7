"""The demo's runs: answers and exports, the worker that produces them, and their page."""
