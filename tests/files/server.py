"""A local HTTP server of one file that misbehaves as it is told, answer by answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """How one request is answered.

    Attributes:
        content: of the file now.
        tag: its ETag; "" sends none.
        modified: its Last-Modified; "" sends none.
        status: another one than 200 or 206 sends no file.
        cut: send so many bytes and close the connection.
        stall: send so many bytes and then nothing for a while.
        claim: bytes more (or less) to announce than there are.
        ranges: whether a Range is understood.
        shift: bytes by which the piece that a Range is answered with lies further back.
    """

    content: bytes
    tag: str = '"1"'
    modified: str = ""
    status: int = 200
    cut: int | None = None
    stall: int | None = None
    claim: int = 0
    ranges: bool = True
    shift: int = 0


@dataclass
class FileServer:
    """The server's address and memory.

    Attributes:
        answer: to every request that `first` has none for.
        first: answers to the first requests.
        requests: headers of all requests so far.
        paths: of all requests so far.
    """

    answer: Answer
    url: str = ""
    first: list[Answer] = field(default_factory=list)
    requests: list[Message] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def misbehave(self, **how: object) -> None:
        """Answer the next request otherwise than all further ones."""
        self.first.append(replace(self.answer, **how))  # type: ignore[arg-type]


@contextmanager
def serve(content: bytes) -> Iterator[FileServer]:
    """Serve these bytes, under any path, while the block runs."""
    server = FileServer(Answer(content))
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # http.server's name
            server.requests.append(self.headers)
            server.paths.append(self.path)
            self._give(server.first.pop(0) if server.first else server.answer)

        def _give(self, answer: Answer) -> None:
            start = self._start(answer)
            body = answer.content[start:]
            if answer.status != 200 or start >= len(answer.content) > 0:
                self.send_response(answer.status if answer.status != 200 else 416)
                self.send_header("Content-Range", f"bytes */{len(answer.content) + answer.claim}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                end = len(answer.content) - 1
                self.send_header("Content-Range", f"bytes {start}-{end}/{len(answer.content) + answer.claim}")
            for name, value in (("ETag", answer.tag), ("Last-Modified", answer.modified)):
                if value:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body) + answer.claim))
            self.end_headers()
            stop = answer.cut if answer.cut is not None else answer.stall
            self.wfile.write(body[:stop])
            self.wfile.flush()
            if answer.stall is not None:
                released.wait(10)
            self.close_connection = True

        def _start(self, answer: Answer) -> int:
            asked = self.headers.get("Range")
            if not asked or not answer.ranges or self.headers.get("If-Range") not in (answer.tag, answer.modified):
                return 0
            return int(asked.removeprefix("bytes=").rstrip("-")) + answer.shift

        def log_message(self, *_: object) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{listener.server_port}"
    thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        released.set()
        listener.shutdown()
        listener.server_close()
        thread.join()


def closed_address() -> str:
    """An address where nobody listens."""
    with serve(b"") as server:
        url = server.url
    return url
