"""A project whose users have keys of any text, as identity providers give them."""

import os
import sys

import pytest

from tests import forking
from tests.live.asgi_servers import ROOT

MODELS = """
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models


class Person(AbstractBaseUser):
    id = models.CharField(max_length=200, primary_key=True)
    USERNAME_FIELD = "id"
    objects = BaseUserManager()
"""
SITE = """
import asyncio
import sys

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="keys",
    AUTH_USER_MODEL="people.Person",
    INSTALLED_APPS=[
        "django.contrib.auth", "django.contrib.contenttypes", "people", "eric_sse_django",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}},
    ERIC_SSE={"CHANNELS": ["orders"]},
)
django.setup()
from django.core.management import call_command

call_command("migrate", run_syncdb=True, verbosity=0)
from people.models import Person

from eric_sse_django import notifier
from eric_sse_django.authorization import revoke
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.shortcuts import listen, publish, stream_url

person = Person.objects.create(id=sys.argv[1])
listener = listen("orders", owner=person)
assert listen("orders", owner=person.pk).id == listener.id
assert listen("orders", owner=person, device="phone").id != listener.id
publish("orders", "paid", 7, owner=person)
publish("orders", "paid", 8, owner=person.pk)
notifier.flush()
channel = DatabaseChannel.load("orders")
print([channel.deliver_next(listener.id).payload for _ in range(2)])
print(stream_url(listener))
revoke(user=person)
person.delete()
"""


@pytest.mark.parametrize("key", ["auth0|5f7c1", "a/b?c=%41#d", "ünï", "x" * 200])
def test_users_with_other_keys_own_listeners_and_get_their_messages(tmp_path, key):
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "__init__.py").touch()
    (tmp_path / "people" / "models.py").write_text(MODELS)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("DJANGO")}
    environment = inherited | {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    command = [sys.executable, "-c", SITE, key]
    done = forking.run(command, cwd=tmp_path, env=environment, timeout_s=60)
    assert done.returncode == 0, done.stderr
    payloads, url = done.stdout.splitlines()
    assert payloads == "[7, 8]"
    assert url.startswith("/events/orders/user~")
    assert not set(url) & set("|?#%")
