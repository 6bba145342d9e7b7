"""`python -m tests.faults.runs`: whatever is killed, each client gets what was produced."""

import pytest

from tests import databases
from tests.conftest import missing
from tests.faults import command
from tests.faults.scale import LONG_S, sized

pytestmark = pytest.mark.timeout(LONG_S)

# docs/reliability.md has the results of 50 runs and 200 kills of each.
RUNS, KILLS, WORDS = sized(3, 50), sized(4, 200), sized(80, 300)
TIMEOUT_S = sized(180, 3_600)


@pytest.mark.parametrize("name", [pytest.param("sqlite", marks=pytest.mark.slow), "postgres"])
def test_kills_of_workers_and_servers_change_no_clients_text(name, tmp_path):
    reason = databases.absence(name)
    if reason is not None:
        missing(reason)
    sizes = ("--runs", str(RUNS), "--kills", str(KILLS), "--words", str(WORDS))
    found = command.run(
        "tests.faults.runs",
        *("--database", name, *sizes),
        directory=tmp_path,
        timeout_s=TIMEOUT_S,
    )
    assert found["status"] == 0
    assert found["verdict"]["good"]
    assert found["runs"] == RUNS
    assert found["clients"] == 3 * RUNS
    assert found["kills"]["server"] >= 1
    assert found["kills"]["worker"] >= 1
    assert found["connections"] > found["clients"]
    assert found["errors"] == []
