"""Page and API behind one guard."""

from __future__ import annotations

from fastapi import FastAPI, Response
from starlette.types import ASGIApp

from panoptic_blend.serving.api import make_api
from panoptic_blend.serving.guard import Guard
from panoptic_blend.serving.page_files import page_files
from panoptic_blend.serving.service import Service


def make_site(service: Service, token: str | None, hosts: frozenset[str] | None) -> ASGIApp:
    """All that the server answers.

    Args:
        service: that does it.
        token: asked of everybody who wants more than the page itself; None for none.
        hosts: names that the server may be called by without a token; None for any.
    """
    api = make_api(service)
    page = page_files()
    for path, (content, kind) in page.items():
        _add(api, path, content, kind)
    return Guard(api, token, hosts, open_paths=frozenset((*page, "/health", "/openapi.json")))


def _add(api: FastAPI, path: str, content: bytes, kind: str) -> None:
    @api.get(path, include_in_schema=False)
    async def send() -> Response:
        return Response(content, media_type=kind, headers={"cache-control": "no-cache"})
