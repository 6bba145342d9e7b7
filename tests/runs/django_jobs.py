"""Tasks of django.tasks: Django's since 6.0, before that the package django-tasks."""

try:
    from django.tasks import task
except ImportError:
    from django_tasks import task  # type: ignore[no-redef]

from eric_sse_django import runs
from tests.runs import jobs


@task
@runs.task
def answer(out, words, errors=()):
    return jobs.answer(out, words, errors)


@task(takes_context=True)
@runs.task(retries=1)
def with_context(context, out, words, errors):
    return jobs.answer(out, words, errors)


@task
@runs.task(retries=1)
async def aanswer(out, words, errors=()):
    return await jobs.aanswer(out, words, errors)
