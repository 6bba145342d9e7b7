"""Channels and listeners by their ids, and what their methods promise in addition."""

import asyncio
import inspect

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connections

from eric_sse_django.connection import Connection
from eric_sse_django.database import (
    DatabaseChannel,
    DatabaseConnectionsFactory,
    DatabaseListener,
    DatabaseQueue,
)
from eric_sse_django.exception import (
    ChannelExists,
    InvalidChannelException,
    InvalidIdentifier,
    InvalidListenerException,
    NoMessagesException,
)
from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.models import Channel, Listener
from eric_sse_django.prefabs import SSEChannel
from eric_sse_django.queues import InMemoryQueue
from tests import databases
from tests.contract import count, rest, soon, take
from tests.database.tools import atomic, threads

GOOD_IDS = ["a", "till-7", "user@example.org", "a.b:c~d+e_F", "...", "x" * 128]
BAD_IDS = ["", ".", "..", "a/b", "a b", "a\n", "a\0b", "ä", "\ud800", "a%2fb", "x" * 129, 7]


class TestIds:
    @pytest.mark.parametrize("name", GOOD_IDS)
    def test_an_id_that_fits_a_url_is_kept(self, database, name):
        DatabaseChannel.create(name).add_listener(listener_id=name)
        assert DatabaseChannel.load(name).get_listener(name).id == name

    @databases.rolled_back
    @pytest.mark.parametrize("name", BAD_IDS, ids=repr)
    def test_another_id_is_refused_and_nothing_is_written(self, database, name):
        with pytest.raises(InvalidIdentifier):
            DatabaseChannel.create(name)
        with pytest.raises(InvalidIdentifier):
            DatabaseChannel.get_or_create(name)
        with pytest.raises(InvalidIdentifier):
            DatabaseConnectionsFactory(name)
        assert not Channel.objects.exists()
        channel = DatabaseChannel.create("orders")
        with pytest.raises(InvalidIdentifier):
            channel.add_listener(listener_id=name)
        assert not Listener.objects.exists()

    @databases.rolled_back
    @pytest.mark.parametrize("name", [*BAD_IDS, None, "bills"], ids=repr)
    def test_loading_what_does_not_exist_raises_an_error(self, channel, name):
        with pytest.raises(InvalidChannelException):
            DatabaseChannel.load(name)
        with pytest.raises(InvalidListenerException):
            channel.get_listener(name)

    @pytest.mark.parametrize("name", ["ORDERS", "Orders"])
    def test_ids_that_differ_in_case_are_never_taken_for_one(self, database, channel, name):
        with pytest.raises(InvalidChannelException):
            DatabaseChannel.load(name)
        channel.add_listener(listener_id="till")
        with pytest.raises(InvalidListenerException):
            channel.get_listener("TILL")
        ways = [
            lambda: DatabaseChannel.get_or_create(name).id,
            lambda: DatabaseConnectionsFactory(name).channel.name,
            lambda: channel.add_listener(listener_id="TILL").id,
        ]
        if connections[database].vendor == "mysql":  # it has room for one of them only
            for make in ways:
                with pytest.raises(InvalidIdentifier, match="case"):
                    make()
        else:
            assert [make() for make in ways] == [name, name, "TILL"]

    def test_an_id_is_created_when_none_is_given(self, database):
        assert DatabaseChannel.create().id != DatabaseChannel.create().id

    def test_a_channel_can_be_created_once(self, channel):
        with atomic():
            with pytest.raises(ChannelExists, match="orders"):
                DatabaseChannel.create("orders")
            channel.broadcast(count(1))  # the caller's transaction continues

    @pytest.mark.parametrize(
        "options",
        [{"format": "xml"}, {"retention_s": 0}, {"retention_s": -1}, {"retention_s": 10**12}],
    )
    def test_an_invalid_option_is_refused(self, database, options):
        with pytest.raises(ValidationError):
            DatabaseChannel.create("orders", **options)
        assert not Channel.objects.exists()


class TestGetOrCreate:
    def test_it_finds_with_one_query(self, database, channel, django_assert_num_queries):
        with django_assert_num_queries(1, connection=connections[database]):
            assert DatabaseChannel.get_or_create("orders", format="text").row == channel.row

    def test_it_creates_the_channel_with_the_options(self, database):
        row = DatabaseChannel.get_or_create("notes", format="text", retention_s=600).row
        assert (row.format, row.retention_s) == ("text", 600)

    @pytest.mark.parametrize("make", [DatabaseChannel.get_or_create, DatabaseConnectionsFactory])
    def test_processes_that_create_one_at_once_all_get_it(self, database, make):
        with threads() as others:
            for _ in range(4):
                others.start(make, "orders")
        assert Channel.objects.count() == 1


class TestOwners:
    @pytest.fixture
    def users(self, database):
        return [User.objects.create(username=name) for name in ("ana", "bob")]

    def test_an_owner_gets_their_listener_again(self, channel, users):
        ana, _ = users
        first = channel.add_listener(ana, "phone")
        assert channel.add_listener(ana, "phone").row == first.row
        assert channel.add_listener(listener_id="phone").row == first.row

    def test_a_listener_of_another_owner_is_refused(self, channel, users):
        ana, bob = users
        channel.add_listener(ana, "phone")
        channel.add_listener(listener_id="screen")
        for taken in ("phone", "screen"):
            with pytest.raises(InvalidIdentifier, match="own"):
                channel.add_listener(bob, taken)


class TestListeners:
    def test_start_and_stop_are_for_all_processes(self, channel, listener):
        elsewhere = DatabaseChannel.load("orders").get_listener(listener.id)
        assert elsewhere.is_running()
        listener.stop()
        assert elsewhere.is_running()  # what it last read
        elsewhere.refresh()
        assert not elsewhere.is_running()

    def test_a_listener_that_was_removed_elsewhere_cannot_be_refreshed(self, channel, listener):
        DatabaseChannel.load("orders").remove_listener(listener.id)
        with pytest.raises(Listener.DoesNotExist):
            listener.refresh()

    def test_a_registered_object_is_called_in_its_process_only(self, channel):
        class Own(MessageQueueListener):
            pass

        own = Own("till-7")
        own.start()
        channel.register_listener(own)
        assert channel.get_listener("till-7") is own
        assert type(DatabaseChannel.load("orders").get_listener("till-7")) is DatabaseListener

    def test_a_factory_gives_a_known_listener_its_queue_with_what_waits(self, database):
        factory = DatabaseConnectionsFactory("orders")
        factory.create(MessageQueueListener("till-7")).queue.push(count(1))
        again = DatabaseConnectionsFactory("orders").create(MessageQueueListener("till-7"))
        assert again.queue.pop().payload == 1


class TestListenersThatMove:
    """A listener's object is of the channel that it was registered with last."""

    @pytest.fixture
    def other(self, database):
        return DatabaseChannel.create("parcels")

    @pytest.fixture(params=["channel", "factory"])
    def target(self, request, database):
        if request.param == "channel":
            return DatabaseChannel.create("parcels")
        return SSEChannel(connections_factory=DatabaseConnectionsFactory("parcels"))

    def test_start_and_stop_are_those_of_the_channel_registered_with(self, channel, target):
        listener = channel.add_listener()
        target.register_listener(listener)
        listener.start()
        target.dispatch(listener.id, count(1))
        assert target.deliver_next(listener.id).payload == 1
        elsewhere = DatabaseChannel.load("parcels").get_listener(listener.id)
        assert elsewhere.is_running()
        assert not DatabaseChannel.load("orders").get_listener(listener.id).is_running()
        listener.stop()
        elsewhere.refresh()
        assert not elsewhere.is_running()

    async def test_its_stream_is_of_the_channel_registered_with(self, channel, target, call):
        listener = await call(channel.add_listener)
        await call(target.register_listener, listener)
        await call(listener.start)
        await call(target.dispatch, listener.id, count(1))
        stream = target.message_stream(listener)
        assert await take(stream, 1) == [("count", 1)]
        await soon(stream.aclose())

    def test_a_running_listener_runs_where_it_is_registered(self, listener, target):
        target.register_listener(listener)
        assert listener.is_running()
        assert DatabaseChannel.load("parcels").get_listener(listener.id).is_running()

    def test_registering_a_running_listener_starts_an_existing_one(self, listener, other):
        other.add_listener(listener_id=listener.id)
        other.register_listener(listener)
        assert DatabaseChannel.load("parcels").get_listener(listener.id).is_running()

    def test_a_listener_that_returns_to_a_channel_is_started_there(self, database):
        home, other = (
            SSEChannel(connections_factory=DatabaseConnectionsFactory(name)) for name in "ab"
        )
        listener = home.add_listener()
        other.register_listener(listener)
        home.register_listener(listener)
        other.remove_listener(listener.id)
        listener.start()
        assert DatabaseChannel.load("a").get_listener(listener.id).is_running()

    def test_listing_connections_does_not_register_a_moved_listener_again(self, channel, other):
        listener = channel.add_listener()
        channel.register_listener(listener)
        other.register_listener(listener)
        assert len(list(channel.get_connections())) == 1
        listener.start()
        assert DatabaseChannel.load("parcels").get_listener(listener.id).is_running()
        assert not DatabaseChannel.load("orders").get_listener(listener.id).is_running()

    def test_a_registered_object_that_is_stopped_stops_where_it_is_registered(
        self, channel, other
    ):
        listener = channel.add_listener()
        listener.start()
        other.register_listener(listener)
        listener.stop()
        channel.register_listener(listener)
        assert not listener.is_running()
        assert not DatabaseChannel.load("orders").get_listener(listener.id).is_running()

    def test_a_removed_listener_registered_again_is_another(self, channel, listener):
        channel.dispatch(listener.id, count(1))
        channel.remove_listener(listener.id)
        channel.register_listener(listener)
        listener.start()
        with pytest.raises(NoMessagesException):
            channel.deliver_next(listener.id)
        channel.dispatch(listener.id, count(2))
        assert channel.deliver_next(listener.id).payload == 2

    def test_a_registered_object_shows_what_other_processes_did(self, channel, listener):
        channel.register_listener(listener)
        DatabaseChannel.load("orders").get_listener(listener.id).stop()
        assert not channel.get_listener(listener.id).is_running()
        with pytest.raises(NoMessagesException):
            channel.deliver_next(listener.id)

    def test_starting_a_removed_listener_is_an_error_that_names_it(self, channel, listener):
        listener.stop()
        channel.remove_listener(listener.id)
        with pytest.raises(InvalidListenerException, match=r"'orders' has no listener 'till-7'"):
            listener.start()
        assert not listener.is_running()

    def test_a_removed_listener_does_not_run_once_it_was_read(self, channel, listener):
        channel.remove_listener(listener.id)
        with pytest.raises(Listener.DoesNotExist):
            listener.refresh()
        assert not listener.is_running()

    def test_stopping_a_removed_listener_does_nothing(self, channel, listener):
        channel.remove_listener(listener.id)
        listener.stop()
        assert not listener.is_running()


class TestMemoryChannelsGiveListenersBack:
    """A listener removed from a plain SSEChannel leaves nothing in the database."""

    @pytest.fixture
    def channel(self, database):
        return SSEChannel(connections_factory=DatabaseConnectionsFactory("orders"))

    def test_a_removed_listener_has_no_row_and_no_messages(self, channel):
        listener = MessageQueueListener("till-7")
        channel.register_listener(listener)
        channel.dispatch("till-7", count(1))
        channel.remove_listener("till-7")
        assert not Listener.objects.exists()
        channel.register_listener(listener)
        listener.start()
        with pytest.raises(NoMessagesException):
            channel.deliver_next("till-7")

    def test_a_listener_whose_queue_was_replaced_has_no_row(self, channel):
        listener = channel.add_listener()
        channel.register_connection(Connection(listener, InMemoryQueue()))
        listener.start()
        channel.dispatch(listener.id, count(1))
        assert channel.deliver_next(listener.id).payload == 1
        channel.remove_listener(listener.id)
        assert not Listener.objects.exists()

    def test_the_same_queue_registered_again_keeps_its_row(self, channel):
        factory = DatabaseConnectionsFactory("orders")
        listener = MessageQueueListener("till-7")
        channel.register_connection(factory.create(listener))
        channel.dispatch("till-7", count(1))
        channel.register_connection(factory.create(listener))
        listener.start()
        assert channel.deliver_next("till-7").payload == 1

    def test_a_factory_does_not_remove_listeners_of_other_channels(self, channel):
        theirs = DatabaseConnectionsFactory("parcels").create()
        channel.register_connection(theirs)
        channel.remove_listener(theirs.listener.id)
        assert DatabaseChannel.load("parcels").get_listener(theirs.listener.id)

    async def test_a_closed_watch_has_no_row(self, channel, call):
        stream = await channel.watch()
        await call(channel.broadcast, count(1))
        assert await take(stream, 1) == [("count", 1)]
        await soon(stream.aclose())
        assert not await Listener.objects.aexists()

    async def test_a_listener_removed_by_another_process_gets_one_error_and_the_end(
        self, channel, call
    ):
        listener = await call(channel.add_listener)
        await call(listener.start)
        stream = channel.message_stream(listener)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        elsewhere = await DatabaseChannel.aload("orders")
        await elsewhere.aremove_listener(listener.id)
        event = await soon(waiting)
        assert event["event"] == "error"
        assert listener.id in event["data"]
        assert await rest(stream) == []


class TestAsync:
    """Every public method that touches the database has a twin, and it does the same."""

    TOUCH = {
        DatabaseChannel: {
            name
            for name in dir(DatabaseChannel)
            if not name.startswith("_")
            and not inspect.iscoroutinefunction(getattr(DatabaseChannel, name))
            and name not in {"adapt", "encode", "encode_named", "id", "message_stream", "watch"}
        },
        DatabaseListener: {"start", "stop", "refresh"},
        DatabaseQueue: {"pop", "push"},
        DatabaseConnectionsFactory: {"create", "release"},
    }

    @pytest.mark.parametrize("kind", TOUCH)
    def test_every_method_has_its_twin(self, kind):
        for name in self.TOUCH[kind]:
            method, twin = getattr(kind, name), getattr(kind, f"a{name}")
            assert inspect.iscoroutinefunction(twin), name
            assert twin.__doc__.startswith(f"As {name}()."), name
            parameters = inspect.signature(twin).parameters
            if "options" not in parameters:
                assert [*parameters] == [*inspect.signature(method).parameters], name

    async def test_twins_do_what_their_names_state(self, database):
        channel = await DatabaseChannel.acreate("notes", format="text")
        assert (await DatabaseChannel.aload("notes")).row == channel.row
        assert (await DatabaseChannel.aget_or_create("notes")).row.format == "text"
        user = await User.objects.acreate(username="ana")
        listener = await channel.aadd_listener(user, "phone")
        await listener.astart()
        await channel.abroadcast(count(1))
        await channel.abroadcast_many([count(2), count(3)])
        await channel.adispatch("phone", count(4))
        await channel.adispatch_to_owner(user, count(5))
        queue = DatabaseQueue(listener.row)
        await queue.apush(count(6))
        got = [(await soon(channel.adeliver_next("phone"))).payload for _ in range(5)]
        assert [*got, (await soon(queue.apop())).payload] == [1, 2, 3, 4, 5, 6]
        await listener.astop()
        found = await channel.aget_listener("phone")
        assert not found.is_running()
        await channel.aregister_listener(MessageQueueListener("till-7"))
        found = await channel.aget_connections()
        assert {each.listener.id for each in found} == {"phone", "till-7"}
        await channel.aremove_listener("till-7")
        with pytest.raises(InvalidListenerException):
            await channel.aget_listener("till-7")
