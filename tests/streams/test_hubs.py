"""The garbage collector beside a hub: older objects are not scanned again."""

import gc
import weakref

import pytest

from eric_sse_django.hub import hub


@pytest.fixture(autouse=True)
def as_at_first(monkeypatch):
    """Nothing frozen but for the test; then as tests/conftest.py has it."""
    monkeypatch.setattr(hub, "_is_frozen", False)
    gc.unfreeze()
    yield
    gc.freeze()


def test_objects_from_before_the_first_hub_are_not_collected_again():
    hub.freeze_once()
    assert gc.get_freeze_count() > 100_000


def test_only_the_first_call_of_a_process_freezes():
    hub.freeze_once()
    gc.unfreeze()
    hub.freeze_once()
    assert gc.get_freeze_count() == 0


def test_what_has_just_become_garbage_is_not_kept():
    class Node:
        pass

    node = Node()
    node.itself = node
    left = weakref.ref(node)
    del node
    hub.freeze_once()
    assert left() is None


def test_in_an_older_process_old_garbage_is_not_kept(monkeypatch):
    class Node:
        pass

    node = Node()
    node.itself = node
    left = weakref.ref(node)
    gc.collect()  # to the oldest generation
    del node
    monkeypatch.setattr(hub, "_loaded_at", hub._loaded_at - hub.FRESH_PROCESS_S)
    hub.freeze_once()
    assert left() is None


def test_nothing_is_frozen_where_the_project_does_not_want_it(settings):
    settings.ERIC_SSE = {"GC_FREEZE": False}
    hub.freeze_once()
    assert gc.get_freeze_count() == 0


def test_nothing_is_frozen_where_the_collector_is_off():
    gc.disable()
    try:
        hub.freeze_once()
    finally:
        gc.enable()
    assert gc.get_freeze_count() == 0
