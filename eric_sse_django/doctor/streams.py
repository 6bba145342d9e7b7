"""A real stream through the site's public address: what proxies make of it."""

from __future__ import annotations

import http.client
import secrets
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from datetime import timezone as zones

from django.utils import timezone

from eric_sse_django import conf, notifier
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.database.operations import remove_channel
from eric_sse_django.doctor import clocks
from eric_sse_django.doctor.answers import refusal
from eric_sse_django.doctor.finding import ERROR, Finding, error, good, note, warning
from eric_sse_django.doctor.link import Link, best_protocol, site_of
from eric_sse_django.message import Message
from eric_sse_django.models import Channel, Listener, OpenStream
from eric_sse_django.shortcuts import stream_url

PREFIX = "eric-doctor-"
# Seconds after which a channel is of a doctor that was killed: an examination takes less.
LEFT_BEHIND_S = 3_600
# Seconds for the beginning of a stream; a hub that starts connects to its database first.
BEGIN_S = 8.0
# Seconds in which a message must arrive, and from which on it is late.
ARRIVE_S = 5.0
LATE_S = 1.0
# Seconds in which a server writes that a stream is open.
ONLINE_S = 4.0
# Seconds in which a server notices that a client has left, and writes that.
GONE_S = 8.0
# Seconds that a heartbeat may be late.
HEARTBEAT_LATE_S = 4.0

BUFFERING = (
    "Turn buffering off for the streams' path (nginx: proxy_buffering off, or do not ignore "
    'X-Accel-Buffering): see "Proxies" in docs/deployment.md.'
)


class Visit:
    """One client of a site: opens a stream of a channel that exists for this time only."""

    def __init__(self, url: str, *, waits: bool = True, insecure: bool = False) -> None:
        parts = site_of(url)
        self._site, self._prefix = parts, parts.path.rstrip("/")
        self._waits, self._insecure = waits, insecure

    def examine(self) -> Iterator[Finding]:
        """Yield what is found. Up to BEGIN_S + HEARTBEAT_S + 30 s."""
        _remove_left_behind()
        name = f"{PREFIX}{secrets.token_hex(8)}"
        channel = DatabaseChannel.create(name, retention_s=LEFT_BEHIND_S)
        try:
            listener = channel.add_listener(listener_id="doctor")
            listener.start()
            self._channel, self._row = channel, listener.row
            path = stream_url(listener, ticket=True)
            # FORCE_SCRIPT_NAME has put the address's own path before it.
            has_prefix = path.startswith(f"{self._prefix}/")
            self._target = path if has_prefix else self._prefix + path
            yield from self._stream()
        finally:
            remove_channel(channel.row)

    def _stream(self) -> Iterator[Finding]:
        link = self._link()
        before = datetime.now(zones.utc)
        try:
            failed = self._open(link)
            if failed is not None:
                yield failed
                return
            found = list(self._protocol(link))
            yield from found
            if any(each.level == ERROR for each in found):
                return
            date = link.date()
            if date is not None:
                yield from clocks.of_response(date, before)
            found = list(self._delivery(link))
            yield from found
            if any(each.level == ERROR for each in found):
                return
            if self._waits:
                yield from self._silence(link)
            self._until_online()
        finally:
            link.close()
        yield from self._leaving()
        yield from self._reconnect(link)

    def _link(self, last_event_id: str = "") -> Link:
        return Link(self._site, self._insecure, last_event_id)

    def _publish(self, number: int) -> float:
        """Publish a message, and return when."""
        at = time.monotonic()
        self._channel.broadcast(Message("doctor", number))
        notifier.flush()
        return at

    # Opening --------------------------------------------------------------------------

    def _open(self, link: Link) -> Finding | None:
        """Open the stream; return why there is none."""
        where = f"{self._site.scheme}://{self._site.netloc}"
        try:
            link.open(self._target, BEGIN_S)
        except ssl.SSLCertVerificationError as failed:
            text = f"The certificate of {where} is refused: {failed}"
            return error("stream.certificate", text, "Renew it, with its whole chain.")
        except ssl.SSLError as failed:
            text = f"{where} gives no TLS that this machine takes: {failed}"
            step = "If no TLS is there, give the address with http://; else look at the proxy's "
            return error("stream.tls", text, f"{step}versions and ciphers of TLS.")
        except TimeoutError:
            return self._silent_beginning(where)
        except (OSError, http.client.HTTPException) as failed:
            text = f"{where} cannot be reached: {type(failed).__name__}: {failed}"
            step = "Check the address, DNS, the firewall, and that the proxy runs."
            return error("stream.unreachable", text, step)
        return refusal(link, self._target)

    def _silent_beginning(self, where: str) -> Finding:
        """Return why not even headers came: HEAD is answered where only bodies are buffered."""
        head = self._link()
        try:
            head.open(self._target, BEGIN_S, "HEAD")
        except (OSError, http.client.HTTPException):
            text = f"{where} accepts connections, and gives no answer within {BEGIN_S:g} s."
            step = "Look at the proxy's and the servers' log: do the servers hang, or not run?"
            step += " If no TLS is there, give the address with http://." if head.is_secure else ""
            return error("stream.no_answer", text, step)
        finally:
            head.close()
        text = "A proxy buffers streams: not even their headers arrive."
        return error("stream.buffered", text, BUFFERING)

    def _protocol(self, link: Link) -> Iterator[Finding]:
        """Yield what the answer's headers show."""
        encoding = link.header("content-encoding")
        if encoding not in ("", "identity"):
            yield error(
                "stream.compressed",
                f"The stream is compressed ({encoding}) on its way: events wait in the "
                "compressor's buffer.",
                'Exclude text/event-stream there: see "Compression" in docs/deployment.md.',
            )
        if link.version == 10:
            yield warning(
                "stream.http10",
                "The answer is HTTP/1.0: the connection cannot be used again, and some proxies "
                "buffer it.",
                "Let the proxy answer with HTTP/1.1 or HTTP/2 (nginx: proxy_http_version 1.1).",
            )
        if "no-store" not in link.header("cache-control"):
            yield warning(
                "stream.cacheable",
                f"A proxy has changed Cache-Control to {link.header('cache-control')!r}: a cache "
                "may store the stream.",
                "Exclude the streams' path from caching and from rules that set headers.",
            )
        if best_protocol(self._site, self._insecure) == "http/1.1":
            yield note(
                "stream.http1",
                "The site offers no HTTP/2: a browser opens at most six connections to it, for "
                "all tabs together, and each stream takes one.",
                "Enable HTTP/2 in the proxy, or share one stream between tabs.",
            )

    # Messages ---------------------------------------------------------------------------

    def _delivery(self, link: Link) -> Iterator[Finding]:
        arrive_s = ARRIVE_S + conf.get("POLL_INTERVAL_S")
        if not link.until(lambda: link.received or link.ended, arrive_s):
            text = "The headers arrive, and the beginning of the body does not: a proxy buffers."
            yield error("stream.buffered", text, BUFFERING)
            return
        delays = []
        for number in (1, 2):
            at = self._publish(number)
            if not link.until(_has(link, number), arrive_s):
                yield self._undelivered(link)
                return
            delays.append(time.monotonic() - at)
        if min(delays) > LATE_S:
            yield warning(
                "stream.late",
                f"A message arrives after {min(delays):.1f} s.",
                "Compare with eric_sse_delivery_delay_seconds: if the servers are fast, a proxy "
                "delays (HAProxy: option http-no-delay); else connect the processes by a channel "
                "layer or NATS.",
            )
        else:
            yield good("stream.delivers", f"A message arrives after {min(delays) * 1_000:.0f} ms.")

    def _undelivered(self, link: Link) -> Finding:
        retry_ms = link.reader.retry_ms
        if link.ended and retry_ms is not None and not link.reader.comments:
            text = (
                f"The server puts clients off: they are asked to retry in {retry_ms // 1_000} s."
            )
            step = (
                "Look for `stream limit reached` and `reading the log` in the servers' log: raise "
            )
            step += "MAX_STREAMS or add processes, or look at the database."
            return error("stream.put_off", text, step)
        if link.ended:
            text = "The stream ended before a message arrived."
            step = "Look for `stream closed` in the servers' log, and at the proxy's log."
            return error("stream.cut", text, step)
        if self._is_served():
            text = "The server has sent a message, and it does not arrive: a proxy buffers."
            return error("stream.buffered", text, BUFFERING)
        return error(
            "stream.not_delivered",
            "The stream is open, and a message that is published here does not reach its server.",
            "Check that the servers use the same database as this command, and look for `reading "
            "the log` and `sequencing` in their log.",
        )

    def _is_served(self) -> bool:
        """Return whether a server has written that it served a message."""
        deadline = time.monotonic() + 2 * conf.get("CURSOR_WRITE_S") + 1
        while time.monotonic() < deadline:
            if Listener.objects.filter(pk=self._row.pk, cursor__gt=self._row.cursor).exists():
                return True
            time.sleep(0.2)
        return False

    def _silence(self, link: Link) -> Iterator[Finding]:
        """Wait until a heartbeat must have come."""
        comments, began = len(link.reader.comments), time.monotonic()
        limit_s = conf.get("HEARTBEAT_S") + HEARTBEAT_LATE_S
        if link.until(lambda: len(link.reader.comments) > comments, limit_s):
            yield good("stream.stays_open", "A silent stream stays open, and has heartbeats.")
        elif link.ended:
            yield error(
                "stream.cut",
                f"The stream was ended after {time.monotonic() - began:.0f} s of silence, before "
                f"its heartbeat (HEARTBEAT_S is {conf.get('HEARTBEAT_S'):g}).",
                "Raise the timeout of the proxy (nginx: proxy_read_timeout 60s), or lower "
                "HEARTBEAT_S.",
            )
        else:
            yield warning(
                "stream.no_heartbeat",
                f"No heartbeat came within {limit_s:g} s.",
                "Check that the servers have the HEARTBEAT_S of this command, and that no proxy "
                "waits for more bytes.",
            )

    # Leaving and reconnecting --------------------------------------------------------------

    def _is_online(self) -> bool:
        return OpenStream.objects.online().filter(listener=self._row.pk).exists()

    def _until_online(self) -> None:
        """Wait until the server has written that the stream is open: it does once a second."""
        deadline = time.monotonic() + ONLINE_S
        while not self._is_online() and time.monotonic() < deadline:
            time.sleep(0.1)

    def _leaving(self) -> Iterator[Finding]:
        deadline = time.monotonic() + GONE_S
        while self._is_online():
            if time.monotonic() > deadline:
                yield warning(
                    "stream.ghost",
                    f"The server still has the stream {GONE_S:g} s after its client left.",
                    "Let the proxy close its connection to the server when the client leaves "
                    "(nginx: proxy_ignore_client_abort off).",
                )
                return
            time.sleep(0.2)

    def _reconnect(self, before: Link) -> Iterator[Finding]:
        """Open the stream again after the first message, as if the second had been lost."""
        first = before.events[0]
        self._publish(3)
        link = self._link(first.last_event_id)
        try:
            failed = self._open(link)
            if failed is not None:
                yield failed
                return
            link.until(_has(link, 3), ARRIVE_S + conf.get("POLL_INTERVAL_S"))
        finally:
            link.close()
        numbers = [event.json() for event in link.events if event.type == "doctor"]
        if numbers == [2, 3]:
            yield good("stream.continues", "A client that reconnects gets what it missed.")
        elif numbers == [3]:
            yield error(
                "stream.no_last_event_id",
                "A proxy removes the header Last-Event-ID: watchers that reconnect miss messages.",
                "Let the proxy pass all headers of the client to the server.",
            )
        else:
            yield error(
                "stream.does_not_continue",
                f"A client that reconnects gets the messages {numbers}, and not 2 and 3.",
                "Check that all servers use the same database, and look at their log.",
            )


def _remove_left_behind() -> None:
    """Remove the channels of doctors that were killed."""
    before = timezone.now() - timedelta(seconds=LEFT_BEHIND_S)
    for row in Channel.objects.filter(name__startswith=PREFIX, created_at__lt=before):
        remove_channel(row)


def _has(link: Link, number: int) -> Callable[[], bool]:
    return lambda: any(event.data == str(number) for event in link.events)
