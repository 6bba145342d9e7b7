"""HTTP to the monitor: staff with the permission get the snapshots as a stream."""

from __future__ import annotations

import asyncio
import logging

from django.db import Error as DatabaseError
from django.http import parse_cookie

from eric_sse_django import authorization, drain
from eric_sse_django.consumers import ADMIT_TIMEOUT_S, HEADERS, Refused, StreamConsumer
from eric_sse_django.hub import Hub
from eric_sse_django.monitor.sampler import Sampler
from eric_sse_django.monitor.viewer import Viewer
from eric_sse_django.streaming import Outlet

logger = logging.getLogger(__name__)

FORBIDDEN = "The monitor is for staff with the permission view_monitor.\n"


class MonitorConsumer(StreamConsumer):
    """
    Serves one monitor page, with a stream's care: see StreamConsumer.

    Who may watch is told by Django's session, and asked again every few seconds.
    """

    async def handle(self, body: bytes) -> None:
        try:
            self._check_method()
            self._check_accept()
            drain.install()
            hub = Hub.for_running_loop()
            await asyncio.wait_for(self._let_in(hub), ADMIT_TIMEOUT_S)
        except Refused as refused:
            await self._refuse(refused)
        except (DatabaseError, asyncio.TimeoutError):
            await self._put_off()  # the hub tells of the database
        except Exception:
            logger.exception("a monitor could not be opened")
            await self._put_off()
        else:
            if self.scope["method"] == "HEAD":
                await self.send_response(200, b"", headers=HEADERS)
            else:
                await self._watch_over(hub)

    async def _let_in(self, hub: Hub) -> None:
        await hub.ready()
        if not await self._may(hub):
            raise Refused(403, FORBIDDEN)

    async def _may(self, hub: Hub) -> bool:
        cookies = parse_cookie(self._header(b"cookie", "; ") or "")
        return await hub.run(authorization.may_monitor, cookies)

    async def _watch_over(self, hub: Hub) -> None:
        """Write the snapshots until the viewer ends or the client leaves."""
        outlet, viewer = Outlet(self.base_send), Viewer()
        gone = asyncio.ensure_future(self._await_leaving(viewer))
        try:
            await self.send_headers(headers=HEADERS)
            with Sampler.of(hub).watched_by(viewer, hub):
                await viewer.serve(outlet.write, lambda: self._may(hub))
            if viewer.was_cut and viewer.reason != "client left":
                outlet.cut()
        except OSError:  # ASGI 2.4: send() may raise it once the client has left
            viewer.end("client left")
        except Exception:
            viewer.end("error")
            logger.exception("a monitor failed")
            await outlet.write(b"", False)
        finally:
            gone.cancel()
            outlet.release()
            logger.info("monitor closed reason=%s", viewer.reason or "cancelled")

    async def _await_leaving(self, viewer: Viewer) -> None:
        """Wait until the client leaves; what it sends meanwhile is dropped."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        viewer.end("client left")
