"""
Real faults, and a judge that counts what was lost.

`python -m tests.faults` kills processes; `python -m tests.faults.soak` runs for a long time;
`python -m tests.faults.wakes` measures publishing with a broken channel layer.
"""
