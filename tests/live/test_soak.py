"""`python -m tests.faults.soak`, for half a minute: what takes half an hour to show, it cannot."""

import pytest

from tests.faults import command
from tests.faults.scale import LONG_S

pytestmark = [pytest.mark.timeout(LONG_S), pytest.mark.slow, pytest.mark.alone]


def test_half_a_minute_of_short_streams_does_not_raise_any_figure(tmp_path):
    options = ("--minutes", "0.5", "--streams", "50", "--database", "sqlite", "--pause", "0.2")
    report = command.run("tests.faults.soak", *options, directory=tmp_path, timeout_s=120)
    assert report["status"] == 0
    assert report["verdict"]["good"]
    assert report["not_flat"] == {}
    assert report["last_sample"]["delivered"] > 1_000
