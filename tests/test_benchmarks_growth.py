"""The figures of the benchmarks of growth and of many processes; no server is started."""

from array import array

import pytest

from benchmarks.growth import figures
from benchmarks.growth.sizes import Size
from benchmarks.processes.sequences import compare
from benchmarks.tally import Wrong


class TestSizes:
    def test_sizes_grow_tenfold_from_0_both_at_once(self):
        assert figures.steps(1_000_000, 100_000) == [
            Size(0, 0),
            Size(10_000, 1_000),
            Size(100_000, 10_000),
            Size(1_000_000, 100_000),
        ]

    def test_fewer_rows_than_the_first_step_are_one_step(self):
        assert figures.steps(500, 50) == [Size(0, 0), Size(500, 50)]

    def test_no_rows_are_the_empty_log_alone(self):
        assert set(figures.steps(0, 0)) == {Size(0, 0)}


class TestCost:
    def test_the_ratio_is_that_of_turns_next_to_each_other(self):
        # The machine was five times slower in the second round, for both.
        cost = figures.Cost(empty=[[1, 1, 9], [5, 5], [1]], full=[[2, 2, 2], [10], [2]])
        assert cost.ratio() == 2

    def test_one_disturbed_round_does_not_count(self):
        cost = figures.Cost(empty=[[1], [1], [1]], full=[[1], [40], [1]])
        assert cost.ratio() == 1

    def test_an_operation_over_the_bound_at_the_largest_size_is_named(self):
        def at(ratio):
            return figures.Cost(empty=[[1.0]], full=[[ratio]])

        small, large = Size(1, 1), Size(10, 10)
        costs = {
            "publish": {small: at(9), large: at(figures.FLAT)},
            "pop": {small: at(1), large: at(figures.FLAT + 0.01)},
        }
        assert figures.not_flat(costs) == ["pop"]
        assert figures.table(costs).splitlines()[-1] == "| pop | 1000.00 | 1.00 × | 1.21 × |"


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100), (0.0, 1)]
)
def test_a_percentile_is_one_of_the_values(share, expected):
    assert figures.percentile(range(100, 0, -1), share) == expected


class TestCompare:
    """Two publishers, three messages each: 0 to 2, and 3 to 5."""

    def wrong(self, *readers):
        return compare([array("q", numbers) for numbers in readers], publishers=2, each=3)

    def test_publishers_may_mix_in_any_way(self):
        assert not self.wrong([0, 3, 1, 2, 4, 5], [0, 3, 1, 2, 4, 5])

    def test_the_same_other_order_for_all_readers_is_allowed(self):
        assert self.wrong([0, 3, 1, 2, 4, 5], [3, 0, 1, 2, 4, 5]) == Wrong(disordered=2)

    def test_a_lost_message_does_not_put_later_ones_out_of_order(self):
        assert self.wrong([0, 3, 1, 2, 4, 5], [0, 1, 2, 4, 5]) == Wrong(lost=1)

    def test_the_messages_of_one_publisher_are_in_its_order(self):
        assert self.wrong([0, 2, 1, 3, 4, 5]) == Wrong(disordered=1)

    def test_a_missing_message_is_lost(self):
        assert self.wrong([0, 1, 2, 3, 4]) == Wrong(lost=1)

    def test_a_message_that_is_read_twice_or_was_never_published_is_repeated(self):
        assert self.wrong([0, 1, 2, 2, 3, 4, 5, 6]) == Wrong(repeated=2)
