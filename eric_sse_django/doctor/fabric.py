"""What carries wakes between processes: the channel layer, or NATS."""

from __future__ import annotations

from collections.abc import Iterator

from eric_sse_django import conf, wakes
from eric_sse_django.doctor.deadline import within
from eric_sse_django.doctor.finding import Finding, error, good, warning

# Seconds that it has for its answer.
ANSWER_S = 5.0


def examine() -> Iterator[Finding]:
    try:
        fabric = wakes.configured()
    except Exception as failed:  # noqa: BLE001 - a project's own class may raise any
        yield error(
            "fabric.unusable",
            f"ERIC_SSE['FABRIC'] cannot be used: {failed}",
            'Fix the setting, or set it to None to poll: see "Several processes" in '
            "docs/deployment.md.",
        )
        return
    polls_s = conf.get("POLL_INTERVAL_S")
    without = f"messages of other processes are polled every {polls_s:g} s"
    if fabric is None:
        yield good("fabric.none", f"No fabric is configured: {without}.")
        return
    name = fabric.name[:1].upper() + fabric.name[1:]
    try:
        crosses = within(ANSWER_S, fabric.probe)
    except Exception as failed:  # noqa: BLE001 - any error is the result
        why = f"{type(failed).__name__}: {failed}".removesuffix(": ")
        yield warning(
            "fabric.unreachable",
            f"{name} does not answer ({why}): {without} until it does.",
            "Start its server, and check its address, password and firewall.",
        )
        return
    if crosses:
        yield good("fabric.answers", f"{name} answers.")
    else:
        yield good("fabric.in_memory", f"{name} connects no processes: {without}.")
