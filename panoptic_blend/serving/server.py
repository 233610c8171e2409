"""Listens, and has uvicorn speak HTTP with bounded patience."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from panoptic_blend.errors import ConfigError

HEAD_SECONDS = 10.0
"""Within which a connection must have sent the head of a request."""
STALLED_SECONDS = 60.0
"""After which a client that does not read its answer is left."""
MOST_CONNECTIONS = 512
"""More are told at once that the server is busy (503)."""
LAST_SECONDS = 60
"""For what is still waiting when the server is asked to end."""
LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Args:
        host: an address of this machine, or a name of it.
        port: 0 takes a free one.

    Raises:
        ConfigError: it cannot be listened there.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=MOST_CONNECTIONS)
    except (OSError, OverflowError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"{host}, port {port}: cannot listen there ({said}). Choose another --port, or an address of this machine."
        ) from error


def is_loopback(listening: socket.socket) -> bool:
    """Whether only this machine reaches it."""
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def address(listening: socket.socket) -> str:
    """The URL to open on this machine."""
    host, port = listening.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(app: ASGIApp, listening: socket.socket) -> None:
    """Answer requests until Ctrl-C or `kill`, then finish those that wait; a second Ctrl-C ends at once."""
    # uvicorn repeats the signal that it obeyed, once everything is finished.
    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        make_server(app).run(sockets=[listening])


def make_server(app: ASGIApp) -> uvicorn.Server:
    """What answers requests, bounded in connections and patience."""
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=LAST_SECONDS,
    )
    return uvicorn.Server(config)


class PatientProtocol(H11Protocol):
    """uvicorn's, which also leaves clients that send no whole head of a request, or do not read their answer."""

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__(*arguments, **named)
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start("head", HEAD_SECONDS)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._start("head", HEAD_SECONDS)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start("stalled", STALLED_SECONDS)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop("stalled")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for name in list(self._timers):
            self._stop(name)

    def _start(self, name: str, seconds: float) -> None:
        self._stop(name)
        self._timers[name] = self.loop.call_later(seconds, self._leave, name)

    def _stop(self, name: str) -> None:
        if name in self._timers:
            self._timers.pop(name).cancel()

    def _leave(self, name: str) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if name == "stalled" or not answering:
            self.transport.abort()
