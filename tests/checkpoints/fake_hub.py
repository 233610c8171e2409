"""A local server that answers as Hugging Face's hub does to the requests that a small model takes."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class FakeHub:
    """What was uploaded, and where.

    Attributes:
        url: the endpoint.
        files: content by (repository, revision, name).
        created: what was asked for when a repository was made.
        tokens: that came with requests.
    """

    url: str = ""
    files: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    created: list[dict[str, Any]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)


@contextmanager
def serve_hub() -> Iterator[FakeHub]:
    """Run the server while the block runs."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._give_file()

        def do_GET(self) -> None:
            if urlsplit(self.path).path.startswith("/api/"):
                self._answer({"siblings": [], "sha": "0" * 40, "id": "me/model"})
            else:
                self._give_file()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            hub.tokens.add(self.headers.get("Authorization", ""))
            path = urlsplit(self.path).path
            if path == "/api/repos/create":
                hub.created.append(json.loads(body))
                self._answer({"url": f"{hub.url}/me/model", "id": "me/model", "name": "me/model"})
            elif match := re.fullmatch(r"/api/models/(.+)/preupload/(.+)", path):
                files = [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                         for each in json.loads(body)["files"]]  # fmt: skip
                self._answer({"files": files})
            elif match := re.fullmatch(r"/api/models/(.+)/commit/(.+)", path):
                for line in body.decode().splitlines():
                    row = json.loads(line)
                    if row["key"] == "file":
                        content = base64.b64decode(row["value"]["content"])
                        hub.files[match[1], match[2], row["value"]["path"]] = content
                self._answer({"commitUrl": f"{hub.url}/{match[1]}/commit/{'1' * 40}", "commitOid": "1" * 40,
                              "hookOutput": "", "success": True})  # fmt: skip
            elif path == "/api/validate-yaml":
                self._answer({"errors": [], "warnings": []})
            else:
                self._refuse("unknown")

        def _give_file(self) -> None:
            match = re.fullmatch(r"/(.+?/.+?)/resolve/(.+?)/(.+)", unquote(urlsplit(self.path).path))
            key = match.groups() if match else ("", "", "")
            if key[0] not in {each[0] for each in hub.files}:
                return self._refuse("RepoNotFound")
            if key[1] not in {each[1] for each in hub.files}:
                return self._refuse("RevisionNotFound")
            if key not in hub.files:
                return self._refuse("EntryNotFound")
            content = hub.files[key]
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", hashlib.sha1(key[1].encode()).hexdigest())
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)
            return None

        def _answer(self, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _refuse(self, code: str) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    hub.url = f"http://127.0.0.1:{listener.server_port}"
    thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield hub
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()
