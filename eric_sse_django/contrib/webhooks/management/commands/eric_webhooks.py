"""Sends the messages of webhooks' endpoints."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from eric_sse_django.contrib.webhooks.worker import Worker
from eric_sse_django.hub import Hub

MAX_THREADS = 256


class Command(BaseCommand):
    help = "Posts the messages of all webhook endpoints, until SIGTERM or Ctrl-C. Several may "
    help += "run at the same time, on any machines: each endpoint is served by one of them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--threads", type=int, default=4, help="Endpoints that are served at the same time."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        threads = options["threads"]
        if not 1 <= threads <= MAX_THREADS:
            raise CommandError(f"--threads is {threads}: give a number from 1 to {MAX_THREADS}.")
        accepted = asyncio.run(self._serve(threads))
        self.stdout.write(self.style.SUCCESS(f"{accepted} messages were accepted."))

    async def _serve(self, threads: int) -> int:
        worker, loop = Worker(threads), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.stop)
        try:
            await worker.run()
        finally:
            await Hub.close_all()
        return worker.accepted
