"""The door of celery-progress: JSON for a page that polls."""

import pytest

from eric_sse_django import runs
from tests.databases import sqlite_only

# What a door writes does not depend on the database: test_plain has all.
pytestmark = sqlite_only


async def test_progress_as_celery_progress_has_it(visitor, ana, call):
    run = await call(runs.start, ana)
    path = f"/progress/{run.id}/"
    waiting = (await visitor.get(path)).json
    assert (waiting["complete"], waiting["progress"]["pending"]) == (False, True)
    async with runs.aproduce(run) as out:
        out.progress(3, 12, "Page 3")
        await out.flush()
        assert (await visitor.get(path)).json == {
            "state": "PROGRESS",
            "complete": False,
            "success": None,
            "progress": {
                "pending": False,
                "current": 3,
                "total": 12,
                "percent": 25,
                "description": "Page 3",
            },
        }
        out.result = "42 rows"
    assert (await visitor.get(path)).json == {
        "state": "SUCCESS",
        "complete": True,
        "success": True,
        "progress": {"pending": False, "current": 100, "total": 100, "percent": 100},
        "result": "42 rows",
    }


async def test_a_failed_run_shows_no_secret(visitor, ana, call):
    run = await call(runs.start, ana)

    async def produce():
        async with runs.aproduce(run) as out:
            out.progress(1, 2)
            raise ValueError("secret")

    with pytest.raises(ValueError, match="secret"):
        await produce()
    found = (await visitor.get(f"/progress/{run.id}/")).json
    assert (found["complete"], found["success"]) == (True, False)
    assert found["result"] == "The run failed."
    assert found["progress"]["percent"] == 50
    visitor.cookie = None
    assert (await visitor.get(f"/progress/{run.id}/")).status == 404
