"""The test servers keep their promises over kill() and restart(); fault tests lean on them."""

import psycopg
import pymysql
import pytest

from tests.conftest import missing
from tests.server import ServerError
from tests.servers import MariaDB, Postgres, Redis


def postgres(server):
    return psycopg.connect(server.dsn, autocommit=True)


def mariadb(server):
    return pymysql.connect(host="127.0.0.1", port=server.port, user="root", autocommit=True)


@pytest.fixture(
    params=[
        (Postgres, postgres, "pg_database WHERE datname"),
        (MariaDB, mariadb, "information_schema.schemata WHERE schema_name"),
    ],
    ids=["postgres", "mariadb"],
)
def fresh(request):
    """Return a running server of the test's own, how to connect, where databases are listed."""
    kind, connect, names = request.param
    reason = kind.absence()
    if reason is not None:
        missing(reason)
    with kind() as server:
        yield server, connect, names


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_server_restarts_on_its_port_with_what_was_committed(fresh, end):
    server, connect, names = fresh
    with connect(server) as connection:
        connection.cursor().execute("CREATE DATABASE kept")
    getattr(server, end)()
    with pytest.raises((psycopg.OperationalError, pymysql.OperationalError)):
        connect(server)
    server.start()
    with connect(server) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT 1 FROM {names} = 'kept'")
        assert tuple(cursor.fetchone()) == (1,)


def test_redis_answers_again_after_a_restart(redis_server):
    redis_server.restart()
    assert redis_server.is_ready()
    redis_server.kill()
    assert not redis_server.is_ready()
    redis_server.start()
    assert redis_server.is_ready()


def test_a_port_that_is_taken_is_an_error(redis_server):
    taken = Redis(port=redis_server.port)
    with pytest.raises(ServerError, match=r"found port \d+ taken"):
        taken.start()
    taken.discard()


def test_a_server_that_does_not_start_shows_its_log(monkeypatch):
    broken = Redis()
    monkeypatch.setattr(broken, "command", lambda: [str(broken.directory / "redis-server"), "--x"])
    with pytest.raises(ServerError, match=r"(?s)Redis on port \d+ ended with 1\..*Bad directive"):
        broken.start()
    broken.discard()
