"""What counts as flat, and what does not."""

import pytest

from tests.faults.samples import MAY_GROW, grown, quarters


def samples(values, name="memory_mb"):
    return [{name: value} for value in values]


def test_the_first_quarter_is_for_warming_up():
    warm = samples([50, 90, 100, 100, 101, 100, 100, 101])
    assert quarters(warm, "memory_mb") == (100, 100.5)
    assert grown(warm, ["memory_mb"]) == {}


def test_a_figure_that_grows_all_the_time_is_found():
    leak = samples(range(100, 200))
    found = grown(leak, ["memory_mb"])
    assert found == {"memory_mb": {"second_quarter": 137, "last_quarter": 187}}


def test_one_high_sample_is_no_growth():
    assert grown(samples([100] * 39 + [500]), ["memory_mb"]) == {}


@pytest.mark.parametrize("name", MAY_GROW)
def test_every_figure_has_a_limit(name):
    factor, amount = MAY_GROW[name]
    more = 100 * factor + amount + 1
    assert name in grown(samples([100] * 20 + [more] * 20, name), [name])
    assert grown(samples([100] * 40, name), [name]) == {}
