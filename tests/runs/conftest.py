"""What tests of runs need beside those of a database: a user, and the end of their writer."""

from collections.abc import AsyncIterator

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model

from eric_sse_django.hub import Hub


@pytest.fixture
def ana(database):
    return get_user_model().objects.create(username="ana")


@pytest.fixture
def call():
    async def call(function, *args):
        return await sync_to_async(function)(*args)

    return call


@pytest.fixture
async def hub_closes(database) -> AsyncIterator[None]:
    yield
    await Hub.close_all()
