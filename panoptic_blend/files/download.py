"""Files from the network: what was cut off is continued, and a file appears under its name only when it is right."""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import shutil
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from panoptic_blend._version import __version__
from panoptic_blend.errors import DownloadError
from panoptic_blend.files.atomic import atomic_path

Progress = Callable[[int, "int | None"], None]
"""Called with the bytes that are here and those of the whole file, None where the server does not tell."""

_CHUNK = 1 << 16
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
"""Answers after which a server may be asked again."""


@dataclass(frozen=True)
class Patience:
    """How long a server is borne with.

    Attributes:
        stall: seconds without a byte after which the connection is given up.
        attempts: connections in a row that bring nothing new, before it is given up for good.
        pause: seconds before the second attempt; doubled before each further one.
    """

    stall: float = 30.0
    attempts: int = 4
    pause: float = 1.0


class _Interrupted(Exception):  # noqa: N818  # not an error yet: the download goes on
    """A connection ended early; the message says how."""


def download(
    url: str, target: Path, digest: str = "", progress: Progress | None = None, patience: Patience | None = None
) -> str:
    """Download a file, continuing where an earlier attempt, in this process or another, was cut off.

    What has come lies in `NAME.part`. It is continued only if the server says that the file is still the same one
    (HTTP's If-Range). Proxies are those of the environment (HTTPS_PROXY, NO_PROXY). Not to be called twice at once for
    one target: hold a lock.

    Args:
        url: http or https.
        target: the file to write; its folder is made. An older one is replaced.
        digest: `sha256:9e9c...` or `md5:c104...`, as many of the first digits as are known; "" checks nothing.
        progress: told after every piece.
        patience: with a slow or broken server.

    Returns:
        The SHA-256 of the file.

    Raises:
        DownloadError: no network, no such file, a server that stalls, breaks off, or announces another length than it
            sends, or a file with another digest, which is removed.
        OSError: the disk is full, or the folder cannot be written to.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(f"{url}: not a http or https address.")
    patience = patience or Patience()
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    attempts, furthest, pause = 0, _size(part), patience.pause
    while True:
        try:
            _continue(url, part, progress or _silent, patience.stall)
            break
        except _Interrupted as reason:
            here = _size(part)
            attempts, pause = (1, patience.pause) if here > furthest else (attempts + 1, pause * 2)
            furthest = max(here, furthest)
            if attempts >= patience.attempts:
                raise DownloadError(
                    f"{url}: {reason}, {attempts} times in a row. Try again later: what has come is kept, and "
                    "continued."
                ) from reason
            time.sleep(pause)
    try:
        sha256 = check_digest(url, part, digest)
    except DownloadError:
        _forget(part)
        raise
    part.replace(target)
    _note(part).unlink(missing_ok=True)
    return sha256


def _silent(here: int, total: int | None) -> None:
    pass


def _continue(url: str, part: Path, progress: Progress, stall: float) -> None:
    """One connection: ask for what is missing, or for all of it, and append what comes."""
    headers = {"User-Agent": f"panoptic-blend/{__version__}", "Accept-Encoding": "identity"}
    known = _read_note(part, url)
    if known:
        headers |= {"Range": f"bytes={_size(part)}-", "If-Range": known}
    try:
        # An opener of its own: urllib's common one would go on with the proxies of its first use.
        opener = urllib.request.build_opener()
        response = opener.open(urllib.request.Request(url, headers=headers), timeout=stall)
    except urllib.error.HTTPError as answer:
        if answer.code == 416 and answer.headers.get("Content-Range") == f"bytes */{_size(part)}":
            return  # all of it came the last time
        raise _explain_answer(url, answer, part) from answer
    except urllib.error.URLError as error:
        raise _explain_no_answer(url, error.reason) from error
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(_in_words(error)) from error
    with response:
        _receive(url, response, part, progress)


def _receive(url: str, response: http.client.HTTPResponse, part: Path, progress: Progress) -> None:
    start, total = 0, None
    length = response.headers.get("Content-Length", "")
    if response.status == 206:
        start, total = _content_range(response.headers.get("Content-Range", ""))
        if start != _size(part):
            _forget(part)
            raise _Interrupted("the server sent another piece than it was asked for")
    elif length.isdecimal():
        total = int(length)
    if not start and _size(part):
        part.open("wb").close()  # or a later request would go on from the end of an older version
    _write_note(part, url, response)
    missing = total - start if total is not None else 0
    if missing > (free := shutil.disk_usage(part.parent).free):
        raise OSError(errno.ENOSPC, f"{missing / 1e6:,.1f} MB are to come, {free / 1e6:,.1f} MB free", str(part))
    with part.open("ab" if start else "wb") as file:
        here = start
        progress(here, total)
        while piece := _next_piece(response):
            file.write(piece)
            here += len(piece)
            progress(here, total)
    if total is not None and here < total:
        raise _Interrupted(f"the connection ended after {here:,} of {total:,} bytes")


def _next_piece(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(_in_words(error)) from error


def _content_range(text: str) -> tuple[int, int | None]:
    """First byte and length of the whole out of `bytes 100-199/200` or `bytes 100-199/*`."""
    try:
        span, total = text.removeprefix("bytes ").split("/")
        return int(span.split("-")[0]), None if total == "*" else int(total)
    except ValueError:
        return -1, None


def _explain_answer(url: str, answer: urllib.error.HTTPError, part: Path) -> Exception:
    said = f"{answer.code} {answer.reason}".strip()
    if answer.code == 416:  # it has less than is here: another file
        _forget(part)
    if answer.code in (416, *_TRANSIENT):
        return _Interrupted(f"the server answered {said}")
    if answer.code in (404, 410):
        return DownloadError(f"{url}: is not there ({said}). It may have been moved or removed.")
    return DownloadError(f"{url}: the server refused it ({said}).")


def _explain_no_answer(url: str, reason: object) -> Exception:
    if isinstance(reason, (TimeoutError, ConnectionResetError)):
        return _Interrupted(_in_words(reason))
    server = urlsplit(url).netloc
    if isinstance(reason, ssl.SSLError):
        return DownloadError(f"{url}: {server} does not prove to be that server ({reason.reason}).")
    return DownloadError(
        f"{url}: {server} cannot be reached ({_in_words(reason)}). Is there a network? A proxy is set by HTTPS_PROXY."
    )


def _in_words(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return "the server stalled"
    if isinstance(reason, socket.gaierror):
        return "its name is not known"
    return (isinstance(reason, OSError) and reason.strerror) or str(reason) or type(reason).__name__


def check_digest(url: str, file: Path, digest: str) -> str:
    """The SHA-256 of a file that is said to be what `url` gives.

    Raises:
        DownloadError: its digest is another than the one announced; the arguments are those of `download`.
    """
    algorithm, _, expected = digest.partition(":")
    sha256, announced = hashlib.sha256(), hashlib.new(algorithm or "sha256", usedforsecurity=False)
    with file.open("rb") as content:
        while piece := content.read(1 << 20):
            sha256.update(piece)
            announced.update(piece)
    found = announced.hexdigest()
    if not found.startswith(expected):
        more = "..." if len(expected) < len(found) else ""
        raise DownloadError(
            f"{url}: is another file than expected: its {algorithm.upper()} is {found} instead of {expected}{more}. "
            "Nothing was read from it. Download it again; if it stays so, the file was replaced, or something on the "
            "way changes it."
        )
    return sha256.hexdigest()


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _write_note(part: Path, url: str, response: http.client.HTTPResponse) -> None:
    """Keep what the server calls this state of the file; weak tags, `W/...`, do not stand for bytes."""
    tag = response.headers.get("ETag", "")
    state = tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
    with atomic_path(_note(part)) as unfinished:
        unfinished.write_text(json.dumps({"url": url, "state": state}), encoding="utf-8")


def _read_note(part: Path, url: str) -> str:
    """What If-Range is to name; "" when nothing can be continued."""
    if not _size(part):
        return ""
    try:
        note = json.loads(_note(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(note.get("state", "")) if isinstance(note, dict) and note.get("url") == url else ""


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
