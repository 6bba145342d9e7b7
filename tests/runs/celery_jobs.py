"""Tasks of Celery, with a broker in memory."""

from celery import Celery

from eric_sse_django import runs
from tests.runs.jobs import answer as write

app = Celery("tests", broker="memory://", backend="cache+memory://")
app.conf.update(worker_hijack_root_logger=False, broker_connection_retry_on_startup=False)


@app.task
@runs.task
def answer(out, words, last=""):
    return write(out, words, last)


@app.task
@runs.task(retries=2)
def repeated(out, words):
    return write(out, words)


@app.task(autoretry_for=(KeyError,), max_retries=1, default_retry_delay=0)
@runs.task
def retried_by_celery(out, words):
    return write(out, words)


@app.task(bind=True, max_retries=1, default_retry_delay=0)
@runs.task
def bound(self, out, words):
    try:
        return write(out, words)
    except KeyError as error:
        raise self.retry(exc=error) from error
