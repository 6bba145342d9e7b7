"""
The tests' server processes, forked from one that has imported Django and the servers already.

To import those takes a process 0.6 s of CPU, and the suite starts hundreds. The package and the
tests are imported by each process itself, as in production.
"""

from tests.forking.forked import Forked
from tests.forking.forker import popen, run
from tests.forking.running import Running, start

__all__ = ["Forked", "Running", "popen", "run", "start"]
