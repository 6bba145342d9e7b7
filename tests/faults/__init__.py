"""
Faults, injected for real, and a judge that counts what was lost.

`python -m tests.faults` kills processes; `python -m tests.faults.soak` runs for long;
`python -m tests.faults.wakes` measures publishing beside a channel layer that is broken.
"""
