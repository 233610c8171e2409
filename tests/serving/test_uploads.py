"""Whatever is sent, the answer is a sentence, and the server goes on."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_blend.errors import DatasetError
from panoptic_blend.serving import server
from panoptic_blend.serving.limits import Limits, Refusal
from panoptic_blend.serving.uploads import open_picture
from tests.serving.conftest import Site
from tests.serving.pictures import bomb, encode, pixels

GOOD = encode(pixels(0), "JPEG")
SMALL = Limits(picture_bytes=200_000, picture_pixels=1_000_000, upload_seconds=0.5, upload_bytes=500_000)


@pytest.fixture(scope="module")
def small(start_site: Callable[..., Site]) -> Site:
    """A server with little patience."""
    return start_site(SMALL)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 415, "no picture"),
        (b"hello", 415, "formats"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", 415, "formats"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", 415, "formats"),
        (b"PK\x03\x04" + bytes(100), 415, "formats"),
        (GOOD[: len(GOOD) // 2], 422, "decoded"),
        (GOOD[:20], 415, "formats"),
        (encode(pixels(0))[:-200], 422, "decoded"),
        (bomb(30000, 30000), 413, "pixels"),
        (bomb(1001, 1000), 413, "pixels"),
        (GOOD + b"\xff\xda" * 100, 413, "scans"),
        (bytes(200_001), 413, "200,000 bytes"),
        (bytes(5_000_000), 413, "200,000 bytes"),
    ],
)
def test_hostile_pictures(small: Site, body: bytes, status: int, says: str):
    reply = small.ask("POST", "/predict", body)
    assert reply.status == status
    assert says in reply.json["detail"]
    assert small.ask("POST", "/predict", GOOD).status == 200


def test_a_body_without_a_length(small: Site):
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(10_000)

    assert small.ask("POST", "/predict", endless()).status == 413


def test_a_client_that_waits_is_told_before_it_sends(small: Site):
    with socket.create_connection(("127.0.0.1", small.port), timeout=30) as client:
        client.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"
        )
        assert client.recv(1000).startswith(b"HTTP/1.1 413")


def test_a_slow_body_is_left(small: Site):
    with socket.create_connection(("127.0.0.1", small.port), timeout=30) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nGIF89a")
        said = b""
        while part := client.recv(1000):
            said += part
    assert said.startswith(b"HTTP/1.1 408")
    assert b"0.5 seconds" in said
    assert small.ask("POST", "/predict", GOOD).status == 200


def test_slow_bodies_together_hold_a_bounded_number_of_bytes(small: Site):
    clients = [socket.create_connection(("127.0.0.1", small.port), timeout=30) for _ in range(4)]
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 150001\r\n\r\n"
    for client in clients:
        client.sendall(head + bytes(150_000))
    deadline = time.monotonic() + 30
    while small.service.uploads.held < 400_000 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert small.service.uploads.held <= SMALL.upload_bytes
    answers = sorted(client.recv(12)[-3:] for client in clients)
    assert answers == [b"408", b"408", b"408", b"429"]
    for client in clients:
        client.close()
    assert small.service.uploads.held == 0


def test_a_client_that_leaves_takes_its_bytes_along(small: Site):
    with socket.create_connection(("127.0.0.1", small.port), timeout=30) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nGIF89a")
    assert small.ask("POST", "/predict", GOOD).status == 200
    deadline = time.monotonic() + 30
    while small.service.uploads.held and time.monotonic() < deadline:
        time.sleep(0.01)
    assert small.service.uploads.held == 0


def test_a_connection_that_says_nothing_is_closed(start_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.3)
    site = start_site()
    for said in (b"", b"GET / HT"):
        with socket.create_connection(("127.0.0.1", site.port), timeout=30) as client:
            client.sendall(said)
            with contextlib.suppress(ConnectionResetError):  # as good as an end
                assert client.recv(1) == b"", "it ends without an answer"
    assert site.ask("GET", "/health").status == 200


def test_what_is_no_http_is_refused(small: Site):
    with socket.create_connection(("127.0.0.1", small.port), timeout=30) as client:
        client.sendall(b"\x16\x03\x01" + bytes(200))
        assert client.recv(1000).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@given(data=st.data())
def test_damaged_files_raise_nothing_but_refusals(kind: str, data: st.DataObject):
    damaged = bytearray(encode(pixels(0, 12, 12), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        picture = open_picture(bytes(damaged), 10_000)
        assert picture.width * picture.height <= 10_000
        picture.decode()
    except (Refusal, DatasetError):
        pass
