"""What the list of listeners says of one."""

from tests.admin.pages import text, url


def test_a_listener_with_an_open_stream_is_seen_now(staff, listener, open_stream):
    open_stream(listener)
    assert '<td class="field-seen">now</td>' in text(staff().get(url("listener")))
