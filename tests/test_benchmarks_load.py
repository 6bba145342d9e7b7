"""The tables and pictures of more streams, and of half an hour; and the page that they are in."""

from pathlib import Path

import pytest

from benchmarks import document, machine, picture
from benchmarks.soak import report as soak
from benchmarks.soak.sample import Sample
from benchmarks.streams import report as streams
from benchmarks.streams.point import Point
from benchmarks.tally import Wrong

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def point(subject="this app", size=100, database=0.5):
    paced = (12.5, database)
    return Point(subject, size, 400.0, 14.25, 0.5, database, *paced, 8.0, 16.0, Wrong())


def sample(minute, mib=100.0, **wrong):
    return Sample(minute * 60.0, mib, 20.0, 5.0, 4_999.6, 8.0, 16.0, Wrong(**wrong))


def test_a_number_of_streams_has_a_line_with_postgresqls_cpu_beside_the_servers():
    table = streams.table([point(), point("bare app", 10_000, 0.0)], "1 message a second")
    *_, ours, bare = table.splitlines()
    assert ours == "| this app | 100 | 14.2 | 400 | 0.50; 0.50 | 12.50; 0.50 | 8.0 | 16.0 |"
    assert bare == "| bare app | 10,000 | 14.2 | 400 | 0.50 | 12.50 | 8.0 | 16.0 |"


def test_the_time_is_divided_into_parts_with_their_medians():
    samples = [sample(minute + 1, lost=minute % 2) for minute in range(12)]
    lines = soak.table(samples).splitlines()[2:]
    assert len(lines) == soak.PARTS
    assert lines[0] == "| 0.0–2.0 | 100.0 | 20.0 | 5.0 | 5,000 | 8.0 | 16.0 | 1, 0, 0 |"
    assert lines[-1].startswith("| 10.0–12.0 |")


def test_growth_compares_the_last_quarter_with_the_second():
    assert soak.growth_mib([sample(minute, 100 + minute) for minute in range(8)]) == 4.0
    assert soak.growth_mib([sample(1)]) == 0.0


def test_both_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    drawn = streams.draw([point(size=size) for size in (100, 1_000)], tmp_path / "streams.svg")
    assert "open streams of one process" in drawn.read_text()
    drawn = soak.draw([sample(minute) for minute in range(4)], tmp_path / "soak.svg")
    assert "minutes" in drawn.read_text()


def test_a_picture_has_no_more_digits_than_can_be_seen():
    assert picture.compact('<g>\n   <use x="12.3456" y="7.8"/>\n</g>') == (
        '<g>\n<use x="12.34" y="7.8"/>\n</g>'
    )


def test_the_page_has_a_place_for_every_table():
    parts = dict.fromkeys(("short", "streams", "soak", "all"), "| table |")
    assert document.fill(PAGE.read_text(), parts).count("| table |") == len(parts)


def test_more_streams_than_files_is_an_error_with_the_next_step(monkeypatch):
    monkeypatch.setattr(machine.os, "sched_setaffinity", lambda *_: None)
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _: (1_024, 4_096))
    with pytest.raises(SystemExit, match=r"10,200 open files, and the limit is 4,096: raise"):
        machine.make_room(10_000)
