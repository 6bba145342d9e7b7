"""Creates a bearer token for the HTTP API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from eric_sse_django.models import ApiToken


class Command(BaseCommand):
    help = "Creates and prints a bearer token, with which a program uses the HTTP API as a user. "
    help += "The token is not stored and cannot be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", help="The name of the user whose permissions it has.")
        parser.add_argument("--name", default="eric_token", help="What the token is for.")
        parser.add_argument("--days", type=int, help="Days until it expires; default: never.")

    def handle(self, *args: Any, **options: Any) -> None:
        users = get_user_model()
        try:
            user = users._default_manager.get_by_natural_key(options["username"])
        except users.DoesNotExist:
            raise CommandError(f"There is no user {options['username']!r}.") from None
        days = options["days"]
        if days is not None and not 1 <= days <= 36_500:
            raise CommandError(f"--days is {days}: use 1 to 36500.")
        if len(options["name"]) > 100:
            raise CommandError("--name has more than 100 characters.")
        expires_at = None if days is None else timezone.now() + timedelta(days=days)
        _, secret = ApiToken.objects.issue(user, options["name"], expires_at)
        self.stdout.write(secret)
