"""The thread that checks the deadlines of the notifier's other threads."""

import threading

from eric_sse_django.workers import Watchdog

PATIENCE_S = 5.0


def test_it_continues_after_a_tick_that_fails_and_that_is_logged_once(monkeypatch, caplog):
    ticks, again = [], threading.Event()

    def tick():
        ticks.append(None)
        if len(ticks) < 3:
            raise RuntimeError("can't start new thread")
        again.set()
        return 60.0

    watch = Watchdog(tick)
    monkeypatch.setattr(watch._outage._backoff, "next_delay_s", lambda: 0.0)
    watch.start()
    assert again.wait(PATIENCE_S)
    watch.close(PATIENCE_S)
    assert [each.levelname for each in caplog.records] == ["ERROR", "WARNING"]
