"""
A link that goes dark: python -m tests.faults.dark --server uvicorn

In a separate network namespace, packets to one client's address are dropped from some moment on,
without FIN and RST, as when its Wi-Fi fails. Measures when its stream is closed, and whether
another client was affected. Exits with 1 if it took longer than the limit.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import subprocess
import sys
import time
from typing import Any

from tests.faults import namespace
from tests.faults.report import end_like_ctrl_c, write
from tests.faults.servers import Servers, running_servers

DARK = "127.0.0.2"
# Seconds allowed in addition to heartbeat and deadline: the hub's timer runs once a second, and
# the kernel checks its own only when it sends again (after 0.2 s, 0.4 s, 0.8 s, …). The kernel
# waits 2 s longer than this app, so that this app ends a client that reads nothing.
SLACK_S = 5.0


def client(address: str, port: int, path: str) -> socket.socket:
    """Return the connection of a client at `address`, whose stream has begun."""
    sock = socket.socket()
    sock.bind((address, 0))
    sock.settimeout(10)
    sock.connect(("127.0.0.1", port))
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
    sock.sendall(head.encode())
    received = b""
    while b": ok" not in received:
        received += sock.recv(4096)
    return sock


def read(sock: socket.socket) -> bytes:
    """Return the received bytes that were not read before."""
    sock.setblocking(False)
    received = b""
    while True:
        try:
            piece = sock.recv(65536)
        except BlockingIOError:
            return received
        if not piece:
            return received
        received += piece


async def play(
    servers: Servers, server: str, heartbeat_s: int, give_up_s: float
) -> dict[str, Any]:
    """Return how long the dark client's stream was kept."""
    from asgiref.sync import sync_to_async

    from eric_sse_django.shortcuts import apublish, channel, listen, stream_url
    from tests.live.test_streams import OPTIONS

    await sync_to_async(channel)("orders")
    paths = [stream_url(await sync_to_async(listen)("orders"), ticket=True) for _ in range(2)]
    process = servers.serve(server, options=OPTIONS.get(server, ()))
    await asyncio.to_thread(process.start)
    try:
        dark = await asyncio.to_thread(client, DARK, process.port, paths[0])
        lit = await asyncio.to_thread(client, "127.0.0.1", process.port, paths[1])
        subprocess.run(["ip", "route", "add", "blackhole", DARK, "table", "local"], check=True)
        began = time.monotonic()
        gone_s: float | None = None
        while gone_s is None and time.monotonic() - began < give_up_s:
            await asyncio.sleep(0.1)
            if "stream closed" in process.log.read_text(errors="replace"):
                gone_s = round(time.monotonic() - began, 1)
        await apublish("orders", "number", 1)
        await asyncio.sleep(1)
        return {
            "server": server,
            "heartbeat_s": heartbeat_s,
            "gone_after_s": gone_s,
            "dark_client_got": len(read(dark)),
            "other_client_got_all": read(lit).count(b"event: number") == 1,
            "log": [line for line in process.log.read_text().splitlines() if "closed" in line],
        }
    finally:
        process.kill()
        process.log.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.dark")
    parser.add_argument("--server", default="daphne")
    parser.add_argument("--heartbeat", type=int, default=2, help="HEARTBEAT_S (2)")
    parser.add_argument("--deadline", type=int, default=2, help="SEND_TIMEOUT_S (2)")
    parser.add_argument("--give-up", type=float, default=60, help="seconds to wait at most (60)")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    namespace.enter("net", "tests.faults.dark", sys.argv[1:])
    end_like_ctrl_c()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    settings = {"HEARTBEAT_S": options.heartbeat, "SEND_TIMEOUT_S": options.deadline}
    with running_servers("sqlite", settings) as servers:
        report = asyncio.run(play(servers, options.server, options.heartbeat, options.give_up))
    report["limit_s"] = options.heartbeat + options.deadline
    write(report, options.json)
    gone_s = report["gone_after_s"]
    in_time = gone_s is not None and gone_s <= report["limit_s"] + SLACK_S
    return 0 if in_time and report["other_client_got_all"] else 1


if __name__ == "__main__":
    sys.exit(main())
