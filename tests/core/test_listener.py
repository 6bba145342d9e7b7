import pickle

from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.message import Message


def test_a_listener_has_the_given_id():
    assert MessageQueueListener("till-7").id == "till-7"


def test_listeners_without_a_given_id_differ():
    assert MessageQueueListener().id != MessageQueueListener().id


def test_a_listener_runs_from_start_to_stop():
    listener = MessageQueueListener()
    assert not listener.is_running()
    listener.start()
    assert listener.is_running()
    listener.stop()
    assert not listener.is_running()


def test_on_message_does_nothing_by_default():
    MessageQueueListener().on_message(Message("paid"))


def test_start_and_stop_wake_watchers_after_the_change():
    listener = MessageQueueListener()
    seen = []
    undo = listener.watch(lambda: seen.append(listener.is_running()))
    listener.start()
    listener.stop()
    assert seen == [True, False]
    undo()
    listener.start()
    assert seen == [True, False]


def test_a_listener_that_overrides_is_running_sends_no_notifications():
    class OfficeHours(MessageQueueListener):
        def is_running(self):
            return True

    assert OfficeHours().watch(lambda: None) is None


def test_a_listener_can_be_pickled_while_it_is_watched():
    listener = MessageQueueListener("till-7")
    listener.start()
    listener.watch(lambda: None)
    copy = pickle.loads(pickle.dumps(listener))
    assert copy.id == "till-7"
    assert copy.is_running()
