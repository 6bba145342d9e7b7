"""All works, in the order of the table."""

from benchmarks.work import Work
from benchmarks.works import backlog, batch, dispatch, fanout, idle, paced, publish, single

WORKS: tuple[Work, ...] = (
    fanout.WORK,
    fanout.IN_BATCHES,
    paced.WORK,
    single.WORK,
    *single.APART,
    idle.WORK,
    publish.WORK,
    publish.APART,
    publish.BESIDE,
    batch.WORK,
    backlog.WORK,
    backlog.AT_ONCE,
    dispatch.WORK,
)
