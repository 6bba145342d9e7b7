"""Tasks of Celery, with a broker in the folder that ERIC_SSE_TEST_CELERY names."""

import os
from pathlib import Path

import django
from celery import Celery
from django.apps import apps

if not apps.ready:  # the worker
    django.setup()

from eric_sse_django import runs
from tests.runs import jobs

folder = Path(os.environ["ERIC_SSE_TEST_CELERY"])
app = Celery("tests", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": str(folder / "data"),
    "data_folder_out": str(folder / "data"),
    "control_folder": str(folder / "control"),
}


@app.task
@runs.task
def answer(out, words, errors=()):
    return jobs.answer(out, words, errors)


@app.task
@runs.task(retries=2)
def repeated(out, words):
    return jobs.answer(out, words)


@app.task(autoretry_for=(KeyError,), max_retries=1, default_retry_delay=0)
@runs.task
def retried_by_celery(out, words, errors):
    return jobs.answer(out, words, errors)


@app.task(bind=True, max_retries=1, default_retry_delay=0)
@runs.task
def bound(self, out, words, errors):
    try:
        return jobs.answer(out, words, errors)
    except KeyError as error:
        raise self.retry(exc=error) from error
