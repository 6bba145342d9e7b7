"""Tasks of procrastinate, with its connector in memory."""

from functools import wraps

from django.db import connections
from procrastinate import App
from procrastinate.testing import InMemoryConnector

from eric_sse_django import runs
from tests.runs import jobs

app = App(connector=InMemoryConnector())


def closing(function):
    """Close the connections of the worker's thread, which is of a pool, after the task."""

    @wraps(function)
    def closed(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        finally:
            connections.close_all()

    return closed


@app.task
@closing
@runs.task
def answer(out, words, errors=()):
    return jobs.answer(out, words, errors)


@app.task
@runs.task
async def aanswer(out, words):
    return await jobs.aanswer(out, words)


@app.task(retry=2, pass_context=True)
@closing
@runs.task
def retried(context, out, words, errors):
    return jobs.answer(out, words, errors)
