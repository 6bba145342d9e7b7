"""`manage.py demo`: prepare the database, and run the publishers and the server."""

from __future__ import annotations

import errno
import secrets
import socket
from typing import Any

from daphne.endpoints import build_endpoint_description_strings
from daphne.server import Server
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from demo_project import channels
from demo_project.background import Background
from demo_project.work import channel
from demo_project.work.supervisor import Supervisor
from eric_sse_django.shortcuts import watch_url

ADMIN = "admin"


class Command(BaseCommand):
    help = "Prepares and runs the demo site until Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=port, default=8000, help="TCP port (8000)")
        parser.add_argument("--bind", default="127.0.0.1", help="address (127.0.0.1)")

    def handle(self, *args: Any, **options: Any) -> None:
        bind, port = options["bind"], options["port"]
        check_free(bind, port)
        migrate()
        password = create_superuser()
        channels.create()
        channel.create()
        self.allow_host(bind)
        from demo_project.asgi import application  # noqa: PLC0415 - after the migrations

        endpoints = build_endpoint_description_strings(host=bind, port=port)
        server = Server(application, endpoints=endpoints, server_name="eric_sse_django demo")
        self.print_urls(bind, port, password)
        with Background(), Supervisor():
            server.run()
        self.stdout.write("\nStopped. All data is kept for the next start.")

    def allow_host(self, bind: str) -> None:
        """Allow the host of a bound address; warn if it is not a loopback address."""
        if is_loopback(bind):
            return
        settings.ALLOWED_HOSTS.append("*" if is_every_address(bind) else url_host(bind))
        self.stderr.write(
            self.style.WARNING(
                f"Anyone with network access to {bind} can read and send messages on this page."
            )
        )

    def print_urls(self, bind: str, port: int, password: str | None) -> None:
        host = url_host("127.0.0.1" if is_every_address(bind) else bind)
        url = f"http://{host}:{port}"
        if password is None:
            login = "with the user and password that the first start printed"
        else:
            login = f"user {ADMIN}, password {password} (printed only this once)"
        strong = self.style.SUCCESS
        self.stdout.write(
            f"\n  Page    {strong(url + '/')}\n"
            f"  Runs    {strong(url + '/runs/')}\n"
            f"  Admin   {url}/admin/  {login}\n"
            f"  Stream  curl -N '{url}{watch_url(channels.VITALS)}'\n\n"
            "Press Ctrl-C to stop.\n"
        )
        self.stdout.flush()


def port(text: str) -> int:
    """Return a TCP port number. argparse shows this name: "invalid port value"."""
    number = int(text)
    if not 0 < number < 65_536:
        raise ValueError
    return number


def check_free(bind: str, port: int) -> None:
    """Raise CommandError with a solution if the server cannot listen there."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(bind, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            # As the server does: connections of a server that just stopped do not block the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            other = port + 1 if port < 65_535 else port - 1
            raise CommandError(
                f"Port {port} of {bind} is used by another program: "
                f"stop that program, or choose another port with --port {other}"
            ) from error
        raise CommandError(f"Cannot listen on {bind} port {port}: {error}") from error


def migrate() -> None:
    """Create or update the tables; raise CommandError if the database cannot be used."""
    try:
        call_command("migrate", verbosity=0)
    except DatabaseError as error:
        raise CommandError(
            f"Cannot use the database {settings.DATABASES['default']['NAME']}: {error}. "
            "Set DEMO_DATABASE to another file, or delete this file to start again."
        ) from error


def create_superuser() -> str | None:
    """Create a superuser if there is none; return its password, or None if one existed."""
    users = get_user_model()._default_manager
    if users.filter(is_superuser=True).exists():
        return None
    password = secrets.token_urlsafe(12)
    users.create_superuser(ADMIN, "", password)
    return password


def is_loopback(bind: str) -> bool:
    return bind in ("localhost", "::1") or bind.startswith("127.")


def is_every_address(bind: str) -> bool:
    return bind in ("0.0.0.0", "::", "")


def url_host(bind: str) -> str:
    return f"[{bind}]" if ":" in bind else bind
