"""Tasks of procrastinate, with its connector in memory."""

from procrastinate import App
from procrastinate.testing import InMemoryConnector

from eric_sse_django import runs
from tests.runs import jobs

app = App(connector=InMemoryConnector())


@app.task
@runs.task
def answer(out, words, errors=()):
    return jobs.answer(out, words, errors)


@app.task
@runs.task
async def aanswer(out, words):
    return await jobs.aanswer(out, words)


@app.task(retry=2, pass_context=True)
@runs.task
def retried(context, out, words, errors):
    return jobs.answer(out, words, errors)
