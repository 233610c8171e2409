"""Page and API behind one guard."""

from __future__ import annotations

from starlette.types import ASGIApp

from panoptic_blend.serving.api import make_api
from panoptic_blend.serving.guard import Guard
from panoptic_blend.serving.service import Service


def make_site(service: Service, token: str | None, hosts: frozenset[str] | None) -> ASGIApp:
    """All that the server answers.

    Args:
        service: that does it.
        token: asked of everybody; None for none.
        hosts: names that the server may be called by without a token; None for any.
    """
    return Guard(make_api(service), token, hosts, open_prefix="/page/")
