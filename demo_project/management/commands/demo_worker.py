"""`manage.py demo_worker`: a worker of the demo's runs; `manage.py demo` starts one itself."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from demo_project.work.worker import work


class Command(BaseCommand):
    help = "Writes answers and exports of the demo until standard input ends."

    def handle(self, *args: Any, **options: Any) -> None:
        work()
