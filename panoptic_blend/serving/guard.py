"""Stands before the API: who may ask, and what browsers are told."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    b"content-security-policy": b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}
"""Of every answer: what the page may load is its own, and no other page gets at it."""


class Guard:
    """Refuses requests without the token, and those that another site has a visitor's browser send.

    Args:
        app: that answers.
        token: which `Authorization: Bearer` must hold; None asks for none.
        hosts: names by which the server may be called while there is no token; None for any. A page whose own name was
            made to point to this machine (DNS rebinding) is kept out by them.
        open_paths: those that no token is asked for, since they tell nothing.
    """

    def __init__(self, app: ASGIApp, token: str | None, hosts: frozenset[str] | None, open_paths: frozenset[str]):
        self.app = app
        self.token = token
        self.hosts = hosts
        self.open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS.items()]
            await send(message)

        refused = self._refuses(scope["path"], headers)
        if refused is None:
            await self.app(scope, receive, send_with_headers)
            return
        status, reason = refused
        fields = [(b"content-type", b"application/json")]
        if status == 401:
            fields.append((b"www-authenticate", b"Bearer"))
        await send_with_headers({"type": "http.response.start", "status": status, "headers": fields})
        await send_with_headers({"type": "http.response.body", "body": json.dumps({"detail": reason}).encode()})

    def _refuses(self, path: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        if self.token is not None:
            given = headers.get("authorization", "").encode("latin-1")
            known = secrets.compare_digest(given, f"Bearer {self.token}".encode())
            if known or path in self.open_paths:
                return None
            return 401, "This server asks for a token: send the header 'Authorization: Bearer TOKEN'."
        host = headers.get("host", "")
        if self.hosts is not None and _name(f"//{host}") not in self.hosts:
            return 403, "This server is called by the name of its own machine only."
        origin = headers.get("origin")
        if origin is not None and urlsplit_host(origin) != host.lower():
            return 403, "Requests of other sites' pages are not answered."
        return None


def urlsplit_host(url: str) -> str | None:
    """The host of a URL and its port, as a browser writes both; None where it is no URL."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return None


def _name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
