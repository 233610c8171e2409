"""Who may ask, and from where."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.serving.conftest import Site
from tests.serving.pictures import encode, pixels


@pytest.fixture(scope="module")
def closed(start_site: Callable[..., Site]) -> Site:
    """A server with a token."""
    return start_site(token="open-sesame")


@pytest.mark.parametrize(
    "given", [None, "", "open-sesame", "Bearer ", "Bearer open", "Bearer öpen", "Basic open-sesame"]
)
def test_without_the_token_nothing_is_told(closed: Site, given: str | None):
    headers = {} if given is None else {"Authorization": given}
    for method, path in (("GET", "/models"), ("POST", "/predict"), ("POST", "/merge"), ("GET", "/nowhere")):
        reply = closed.ask(method, path, encode(pixels(0)) if method == "POST" else None, headers)
        assert reply.status == 401
        assert reply.headers["www-authenticate"] == "Bearer"
    assert closed.ask("GET", "/health").status == 200


def test_with_the_token_from_anywhere(closed: Site):
    headers = {"Authorization": "Bearer open-sesame", "Host": "models.example", "Origin": "https://other.example"}
    assert closed.ask("POST", "/predict", encode(pixels(0)), headers).status == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "[", "127.0.0.1.evil.example:80"])
def test_a_name_that_only_points_here_is_not_answered(site: Site, host: str):
    assert site.ask("GET", "/models", headers={"Host": host}).status == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000", "LOCALHOST"])
def test_names_of_this_machine(site: Site, host: str):
    assert site.ask("GET", "/models", headers={"Host": host}).status == 200
    assert site.ask("GET", "/models", headers={"Host": host, "Origin": f"http://{host}"}).status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:9", "http://[", "file://"])
def test_other_sites_are_not_answered(site: Site, origin: str):
    headers = {"Origin": origin, "Host": "localhost:8000"}
    assert site.ask("POST", "/predict", encode(pixels(0)), headers).status == 403


def test_no_other_page_gets_at_an_answer(site: Site):
    for reply in (site.ask("GET", "/models"), site.ask("GET", "/nowhere"), site.ask("OPTIONS", "/predict")):
        assert "access-control-allow-origin" not in reply.headers
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "server" not in reply.headers
