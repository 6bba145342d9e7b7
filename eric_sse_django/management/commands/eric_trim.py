"""Removes the messages whose retention is over."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from eric_sse_django import log
from eric_sse_django.database import orphans


class Command(BaseCommand):
    help = "Removes the messages whose retention is over. Processes that publish or stream do "
    help += "this automatically, unless ERIC_SSE['TRIM_INTERVAL_S'] is 0."

    def handle(self, *args: Any, **options: Any) -> None:
        removed = 0
        while count := log.trim():
            removed += count
            if options["verbosity"] > 1:
                self.stdout.write(f"{removed} messages removed so far")
        log.forget_lapsed()
        orphans.remove_orphans()
        self.stdout.write(self.style.SUCCESS(f"{removed} messages removed."))
