"""What may happen, in an order that hypothesis chooses."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
)

from eric_sse_django import log
from tests.streams.promises import going_back
from tests.streams.promises.faults import faults
from tests.streams.promises.model import Listening, Published
from tests.streams.promises.narrowing import Narrowing
from tests.streams.promises.serving import Client, beat
from tests.streams.promises.world import CHANNELS, Other, World
from tests.streams.reading import Reader

MAX_LISTENERS = 4

index = st.integers(0, 7)
owners = st.sampled_from([None, "ada", "bob"])
# What a message is: how it is addressed, to which of those, and whether it has a lifetime.
acts = st.tuples(st.sampled_from(["all", "one", "owner"]), index, st.booleans())


class Promises(Narrowing, RuleBasedStateMachine):
    """One run of a world. `configure` is called with settings before it; see test_promises."""

    configure: Any = None
    steps = True
    several_writers = False

    @initialize(
        buffer=st.sampled_from([1, 3, 1_000]),
        ring=st.sampled_from([0, 2, 500]),
        rows=st.sampled_from([1, 2, 1_000]),
        cap=st.sampled_from([None, None, 3]),
        at_once=st.booleans(),
        listeners=st.lists(
            st.tuples(st.sampled_from(CHANNELS), owners, st.booleans()), min_size=1, max_size=3
        ),
    )
    def begin(self, buffer, ring, rows, cap, at_once, listeners):
        self.configure(buffer, ring, rows, cap)
        Reader.writes_at_once = at_once
        self.world = World(self.steps, cap)
        for listener in listeners:
            self.world.add_listener(*listener)
        self.before = going_back.back_up(self.world)

    def teardown(self):
        Reader.writes_at_once = True
        world = getattr(self, "world", None)
        if world is None:
            return
        try:
            while world.others:
                world.others.pop().end(is_committed=True)
            world.agree()
            for listener in world.listeners:
                if listener.running:
                    world.connect([(listener.channel, listener)], 0)
                    world.connect([(listener.channel, listener)], None)
            world.agree()
            for listener in world.listeners:
                for _ in world.model.messages:
                    world.pop(listener, rolls_back=False)
        finally:
            world.close()

    @precondition(lambda self: len(self.world.listeners) < MAX_LISTENERS)
    @rule(channel=st.sampled_from(CHANNELS), owner=owners, by_client=st.booleans())
    def add_a_listener(self, channel, owner, by_client):
        self.world.add_listener(channel, owner, by_client)

    # Listeners and clients ------------------------------------------------------

    def listener(self, at: int) -> Listening:
        return self.world.listeners[at % len(self.world.listeners)]

    def client(self, at: int) -> Client | None:
        clients = self.world.clients
        return clients[at % len(clients)] if clients else None

    def message(self, kind: str, at: int, has_lifetime: bool) -> Published:
        listener = self.listener(at)
        to = listener if kind == "one" else None
        owner = listener.owner if kind == "owner" else None
        return self.world.model.publish(listener.channel, to, owner, has_lifetime)

    def has_clients(self) -> bool:
        # While threads race this is no condition: which steps there are must not depend on them.
        return not self.steps or bool(self.world.clients)

    # Publishing -------------------------------------------------------------------

    @rule(acts=st.lists(acts, min_size=1, max_size=4), end=st.sampled_from(["commit", "crash"]))
    def publish(self, acts, end):
        self.world.publish([self.message(*act) for act in acts], end)

    @rule(act=acts)
    def publish_alone(self, act):
        """Outside a transaction; what is passed on is kept, as that of the sequencer."""
        self.world.publish_alone(self.message(*act))

    @rule(acts=st.lists(acts, min_size=1, max_size=4))
    def publish_and_deliver(self, acts):
        self.publish(acts, "commit")
        self.world.sequence()
        self.world.look()

    @precondition(lambda self: self.steps)
    @rule(acts=st.lists(acts, min_size=1, max_size=4))
    def publish_and_pass_on(self, acts):
        """As the notifier does: nobody looks, unless a segment is not what comes next."""
        self.publish(acts, "commit")
        self.world.sequence()
        self.world.pass_all_on()

    @rule(acts=st.lists(acts, min_size=1, max_size=2))
    def publish_and_roll_back(self, acts):
        self.world.publish([self.message(*act) for act in acts], "rollback")

    @precondition(lambda self: self.several_writers and len(self.world.others) < 2)
    @rule(act=acts)
    def publish_in_a_long_transaction(self, act):
        self.world.others.append(Other(self.world))
        self.world.others[-1].publish(self.message(*act))

    @precondition(lambda self: self.world.others)
    @rule(at=index, act=acts)
    def publish_more_in_it(self, at, act):
        self.world.others[at % len(self.world.others)].publish(self.message(*act))

    @precondition(lambda self: self.world.others)
    @rule(at=index, is_committed=st.booleans())
    def end_the_long_transaction(self, at, is_committed):
        self.world.others.pop(at % len(self.world.others)).end(is_committed)

    # The log ----------------------------------------------------------------------

    @rule()
    def sequence(self):
        self.world.sequence()

    @precondition(lambda self: self.steps)
    @rule()
    def sequence_elsewhere(self):
        """By a process that passes nothing on."""
        self.world.sequence(is_passed_on=False)

    @rule()
    def look(self):
        self.world.look()

    @precondition(lambda self: self.world.segments)
    @rule(at=index, is_kept=st.booleans())
    def pass_a_segment_on(self, at, is_kept):
        """Late, in another order, twice; those that nobody passes on are lost."""
        self.world.pass_on(at, is_kept)

    @precondition(lambda self: self.world.segments)
    @rule(at=index, which=st.lists(st.integers(0, 3), min_size=1, max_size=4))
    def pass_some_channels_on(self, at, which):
        self.world.pass_channels_on(at, which)

    @precondition(lambda self: self.world.segments)
    @rule()
    def pass_segments_on(self):
        self.world.pass_all_on()

    @precondition(lambda self: self.world.segments)
    @rule(at=index)
    def lose_the_entries_of_a_segment(self, at):
        segments = self.world.segments
        at %= len(segments)
        segments[at] = segments[at]._replace(entries=None)

    @rule()
    def agree(self):
        self.world.agree()

    @rule()
    def wake(self):
        self.world.wake()

    @rule(turns=st.integers(1, 6))
    def breathe(self, turns):
        self.world.breathe(turns)

    @rule(count=st.integers(1, 5))
    def trim_the_oldest(self, count):
        there = [m for _, m in sorted(self.world.model.log.items()) if not m.removed]
        self.world.trim(there[:count])

    @rule(picked=st.sets(index, min_size=1, max_size=3))
    def trim_some(self, picked):
        there = [m for _, m in sorted(self.world.model.log.items()) if not m.removed]
        self.world.trim([there[at] for at in picked if at < len(there)])

    @rule(at=index)
    def end_a_lifetime(self, at):
        committed = [m for m in self.world.model.messages.values() if m.committed]
        living = [m for m in committed if m.has_lifetime and not m.over]
        if living:
            self.world.end([living[at % len(living)]])

    # A database that goes back --------------------------------------------------------

    @precondition(lambda self: self.steps and not self.world.others)
    @rule()
    def back_up(self):
        self.before = going_back.back_up(self.world)

    @precondition(lambda self: self.steps and not self.world.others)
    @rule(acts=st.lists(acts, max_size=8), is_placed=st.booleans(), is_noticed=st.booleans())
    def go_back(self, acts, is_placed, is_noticed):
        """By a backup; more or less is published then, than was lost, before anybody looks."""
        must_end = going_back.go_back(self.world, self.before)
        self._went_back(must_end, acts, is_placed, is_noticed)

    @precondition(lambda self: self.steps and not self.world.others)
    @rule(acts=st.lists(acts, max_size=8), is_placed=st.booleans(), is_noticed=st.booleans())
    def lose_the_log(self, acts, is_placed, is_noticed):
        must_end = going_back.lose_the_log(self.world)
        self.before = going_back.back_up(self.world)
        self._went_back(must_end, acts, is_placed, is_noticed)

    def _went_back(self, must_end, acts, is_placed, is_noticed):
        if not is_noticed:
            # All processes end before they look. An operator reports it: see operations.md.
            self.world.clients.clear()
            self.world.restart(is_killed=True)
            log.begin_history()
        if acts:
            self.publish(acts, "commit")
        if is_placed:
            self.world.sequence()
        if is_noticed:
            going_back.notice(self.world, must_end)

    # Clients ----------------------------------------------------------------------

    @rule(at=index, last=st.sampled_from([None, None, 0]))
    def connect(self, at, last):
        listener = self.listener(at)
        if listener.running:
            self.world.connect([(listener.channel, listener)], last)

    @rule(
        at=index,
        act=st.sampled_from(["stop", "revoke", "publish", "trim"]),
        is_known=st.booleans(),
    )
    def connect_while_something_happens(self, at, act, is_known):
        """The act happens after the access check; the hub may have read it already."""
        listener = self.listener(at)
        if not listener.running:
            return

        def happens():
            if act == "stop":
                self.world.stop(listener)
            elif act == "revoke":
                self.world.revoke(listener, of_owner=False)
            elif act == "publish":
                self.publish([("all", at, False)], "commit")
            else:
                self.trim_the_oldest(5)
            if is_known:
                self.world.sequence()
                self.world.look()

        client = self.world.connect([(listener.channel, listener)], None, happens)
        if act in ("stop", "revoke"):
            self.world.tell_to_end(client)

    @rule(channel=st.sampled_from(CHANNELS), last=st.sampled_from([None, 0]))
    def watch(self, channel, last):
        self.world.connect([(channel, None)], last)

    @rule(at=index, as_listener=st.booleans(), last=st.sampled_from([None, 0]))
    def connect_to_both_channels(self, at, as_listener, last):
        listener = self.listener(at)
        [other] = set(CHANNELS) - {listener.channel}
        others = [each for each in self.world.listeners if each.channel == other and each.running]
        second = others[at % len(others)] if others and as_listener else None
        if listener.running:
            self.world.connect([(listener.channel, listener), (other, second)], last)

    @precondition(has_clients)
    @rule(at=index)
    def disconnect(self, at):
        if client := self.client(at):
            self.world.leave(client)

    @precondition(has_clients)
    @rule(at=index, unseen=st.integers(0, 2), is_known=st.booleans())
    def reconnect(self, at, unseen, is_known):
        """As a browser, which may not have got the last events that the server has sent."""
        client = self.client(at)
        if client is None:
            return
        places = [(view.channel, view.listener) for view in client.views]
        self.world.leave(client)
        ids = [int(event.last_event_id) for event in client.reader.events]
        last = client.last_id if not unseen else [0, *ids][-1 - min(unseen, len(ids))]
        if all(listener is None or listener.running for _, listener in places):
            self.world.connect(places, last if is_known or unseen else None)

    @precondition(has_clients)
    @rule(at=index, act=acts)
    def lose_the_link(self, at, act):
        """As a browser that was reloaded: what was on its way is lost, and it sends nothing."""
        client = self.client(at)
        if client is None:
            return
        client.reader.open.clear()
        self.publish_and_deliver([act])
        if client in self.world.clients:
            self.world.leave(client)
        for view in client.views:
            if view.listener and view.listener.running:
                self.world.connect([(view.channel, view.listener)], None)

    @precondition(has_clients)
    @rule(at=index)
    def stall(self, at):
        if client := self.client(at):
            client.reader.open.clear()

    @precondition(has_clients)
    @rule(at=index)
    def flow(self, at):
        if client := self.client(at):
            client.reader.open.set()

    @precondition(has_clients)
    @rule(at=index)
    def fall_back(self, at):
        if client := self.client(at):
            self.world.fall_back(client)

    @precondition(has_clients)
    @rule(at=index)
    def beat(self, at):
        if client := self.client(at):
            beat(client)

    @rule(at=index, rolls_back=st.booleans())
    def pop(self, at, rolls_back):
        self.world.pop(self.listener(at), rolls_back)

    # What ends streams --------------------------------------------------------------

    @rule(at=index)
    def stop(self, at):
        self.world.stop(self.listener(at))

    @rule(at=index)
    def start(self, at):
        self.world.start(self.listener(at))

    @rule(at=index, of_owner=st.booleans())
    def revoke(self, at, of_owner):
        self.world.revoke(self.listener(at), of_owner)

    @rule(is_killed=st.booleans())
    def restart(self, is_killed):
        self.world.restart(is_killed)

    @rule()
    def go_blind(self):
        self.world.go_blind()

    # What goes wrong ------------------------------------------------------------------

    @rule(acts=st.lists(acts, min_size=1, max_size=2))
    def a_hook_fails(self, acts):
        """While these are delivered no message can be encoded: streams end, and lose nothing."""
        faults.hook = True
        try:
            self.publish_and_deliver(acts)
        finally:
            faults.hook = False

    @precondition(lambda self: self.steps)
    @rule(is_done=st.booleans(), act=acts)
    def a_thread_hangs(self, is_done, act):
        """The next call of one is given up; what it was to do may be done all the same."""
        faults.hangs.append("after" if is_done else "before")
        self.publish_and_deliver([act])

    @rule()
    def write_records(self):
        if self.world.hub:
            self.world.run(self.world.hub.records.write())
