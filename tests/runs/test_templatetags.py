"""`{% eric_run %}` renders what a run has, and where its element continues."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.template import Context, Template
from django.test import RequestFactory

from eric_sse_django import runs
from tests.runs.tools import fresh


def rendered(run, user=None, tag="eric_run"):
    request = RequestFactory().get("/")
    request.user, request.session = user or AnonymousUser(), SessionStore()
    request.session.create()
    template = Template(f"{{% load eric_runs %}}{{% {tag} run %}}")
    return template.render(Context({"run": run, "request": request}))


@pytest.fixture
def run(ana):
    run = runs.start(ana, title="Why?")
    with runs.produce(run) as out:
        out.write("Because <b>")
        out.write(" & so on")
        out.send({"html": "</script><b>&"})
        out.progress(1, 4, "Page <1>")
    return fresh(run)


def test_text_and_values_are_escaped(run, ana):
    html = rendered(run, ana)
    assert '<span data-run="text">Because &lt;b&gt; &amp; so on</span>' in html
    assert '[{"html": "\\u003C/script\\u003E\\u003Cb\\u003E\\u0026"}]' in html
    assert html.count("<b>") == 0
    assert 'index="3" status="finished"' in html


def test_the_end_is_in_the_page_without_the_text_of_an_error(run, ana):
    end = '<script type="application/json" data-run="end">'
    assert f'{end}{{"result": null}}</script>' in rendered(run, ana, "eric_run_progress")
    failed = runs.start(ana)
    assert end not in rendered(failed, ana)
    with pytest.raises(ValueError, match="secret"), runs.produce(failed):
        raise ValueError("secret")
    html = rendered(failed, ana)
    assert f'{end}{{"error": "The run failed."}}</script>' in html
    assert '<span data-run="note">The run failed.</span>' in html
    assert "secret" not in html


def test_the_element_continues_at_the_next_chunk(database, ana):
    run = runs.start(ana)
    assert 'index="0" status="waiting"' in rendered(run, ana)
    with runs.produce(run) as out:
        out.write("a")
        out.write("b")
        out.flush()
        assert 'index="2" status="running"' in rendered(runs.get(run.id), ana)


def test_others_than_the_owner_get_a_ticket(run):
    assert f'src="/events/runs/{run.id}/?ticket=' in rendered(run)


def test_a_progress_bar_has_no_output(run, ana):
    html = rendered(run, ana, "eric_run_progress")
    assert '<progress max="4" value="1" aria-label="Why?"></progress>' in html
    assert '<span data-run="note">Page &lt;1&gt;</span>' in html
    assert "Because" not in html


def test_a_bar_without_a_total_is_indeterminate(database, ana):
    run = runs.start(ana)
    with runs.produce(run) as out:
        out.progress(5, text="5 pages")
        out.flush()
        html = rendered(runs.get(run.id), ana)
    assert "<progress aria-label" in html
    assert "5 pages" in html


def test_a_run_without_progress_hides_the_bar(database, ana):
    assert "<progress hidden" in rendered(runs.start(ana), ana)


def test_a_context_without_a_request_is_refused(run):
    template = Template("{% load eric_runs %}{% eric_run run %}")
    with pytest.raises(ValueError, match="no request"):
        template.render(Context({"run": run}))
