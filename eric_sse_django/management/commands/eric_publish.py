"""Publishes messages: one from the command line, or many from standard input."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError, CommandParser

from eric_sse_django import notifier
from eric_sse_django.exception import EricError, InvalidChannelException
from eric_sse_django.management.command import OperatorCommand
from eric_sse_django.shortcuts import channel as get_or_create
from eric_sse_django.shortcuts import publish


class Command(OperatorCommand):
    help = "Publishes a message to a channel. The payload is JSON; - reads payloads from standard "
    help += "input, one on each line, and publishes each as it comes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("channel", help="The id of the channel.")
        parser.add_argument("type", help="The type of the message: the event of the stream.")
        parser.add_argument(
            "payload", nargs="?", default="null", help="JSON; null without it; or -."
        )
        parser.add_argument("--text", action="store_true", help="Payloads are text, not JSON.")
        to = parser.add_mutually_exclusive_group()
        to.add_argument("--listener", help="Only to the listener with this id.")
        to.add_argument("--owner", help="Only to the listeners of the user with this name.")
        parser.add_argument("--expires", type=float, metavar="S", help="Its lifetime in seconds.")
        parser.add_argument(
            "--create", action="store_true", help="Create the channel if there is none."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        to = self._recipient(options)
        count = 0
        try:
            if options["create"]:
                get_or_create(options["channel"])
            for payload in self._payloads(options):
                publish(
                    *(options["channel"], options["type"], payload),
                    **to,
                    expires_in_s=options["expires"],
                )
                count += 1
        except InvalidChannelException as error:
            raise CommandError(f"{error} To create it now, add --create.") from error
        except (EricError, ValueError) as error:
            done = f" {count} were published before." if count else ""
            raise CommandError(f"{error}{done}") from error
        finally:
            notifier.flush()
        if options["verbosity"]:
            self.stdout.write(self.style.SUCCESS(f"{count} published to {options['channel']}."))

    def _recipient(self, options: dict[str, Any]) -> dict[str, Any]:
        if options["listener"] is not None:
            return {"listener_id": options["listener"]}
        if options["owner"] is None:
            return {}
        users = get_user_model()
        try:
            return {"owner": users._default_manager.get_by_natural_key(options["owner"])}
        except users.DoesNotExist:
            raise CommandError(f"There is no user {options['owner']!r}.") from None

    def _payloads(self, options: dict[str, Any]) -> Iterator[Any]:
        given = options["payload"]
        lines = (line.rstrip("\n") for line in sys.stdin) if given == "-" else [given]
        for line in lines:
            if options["text"]:
                yield line
            elif line.strip():
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError) as error:
                    text = f"{line[:80]!r} is not JSON ({error}): "
                    text += "put texts in double quotes, or add --text."
                    raise ValueError(text) from None
