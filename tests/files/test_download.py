"""Downloads from a server that cuts, stalls, lies, forgets and changes its mind."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from panoptic_blend.errors import DownloadError
from panoptic_blend.files.download import Patience, download
from tests.files.server import FileServer, closed_address, serve

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = Patience(stall=0.3, attempts=3, pause=0.01)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve(CONTENT) as running:
        yield running


def get(server: FileServer, folder: Path, digest: str = f"sha256:{SHA256}", patience: Patience = QUICK) -> str:
    return download(f"{server.url}/model.pth", folder / "model.pth", digest, patience=patience)


def assert_complete(folder: Path, content: bytes = CONTENT) -> None:
    assert [path.name for path in folder.iterdir()] == ["model.pth"]
    assert (folder / "model.pth").read_bytes() == content


def assert_fails(server: FileServer, folder: Path, words: str, digest: str = "") -> None:
    with pytest.raises(DownloadError) as failure:
        get(server, folder, digest)
    assert words in str(failure.value)
    assert f"{server.url}/model.pth: " in str(failure.value)
    assert "\n" not in str(failure.value)
    assert not (folder / "model.pth").exists()


def test_a_file_arrives_whole_and_its_hash_is_told(server: FileServer, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    target = tmp_path / "new" / "model.pth"
    found = download(f"{server.url}/model.pth", target, progress=lambda here, total: told.append((here, total)))
    assert found == SHA256
    assert_complete(tmp_path / "new")
    assert told[0] == (0, len(CONTENT))
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert server.requests[0]["User-Agent"].startswith("panoptic-blend/")
    assert server.requests[0]["Accept-Encoding"] == "identity"  # bytes are counted and continued as they are stored


def test_what_was_cut_is_continued(server: FileServer, tmp_path: Path) -> None:
    server.misbehave(cut=200_000)
    get(server, tmp_path)
    assert_complete(tmp_path)
    assert [headers["Range"] for headers in server.requests] == [None, "bytes=200000-"]
    assert server.requests[1]["If-Range"] == '"1"'


def test_another_process_continues_what_one_left(server: FileServer, tmp_path: Path) -> None:
    server.misbehave(cut=300_000)
    with pytest.raises(DownloadError, match=r"ended after 300,000 of 512,000 bytes.*continued"):
        get(server, tmp_path, patience=Patience(0.3, 1, 0))
    assert (tmp_path / "model.pth.part").stat().st_size == 300_000
    assert not (tmp_path / "model.pth").exists()
    get(server, tmp_path)
    assert_complete(tmp_path)
    assert server.requests[1]["Range"] == "bytes=300000-"


def test_a_version_that_does_not_fit_the_disk_leaves_nothing_of_the_one_before(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.misbehave(cut=200_000, content=CONTENT[::-1], tag='"0"')
    with pytest.raises(DownloadError):
        get(server, tmp_path, "", patience=Patience(0.3, 1, 0))
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6, 1000))  # type: ignore[attr-defined]
        with pytest.raises(OSError, match="are to come"):
            get(server, tmp_path, "")
    get(server, tmp_path, "")
    assert_complete(tmp_path)


def test_dates_stand_in_for_tags_and_weak_tags_for_nothing(server: FileServer, tmp_path: Path) -> None:
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    server.misbehave(cut=100_000, tag='W/"1"', modified=date)
    server.misbehave(cut=50_000, tag='W/"1"', modified=date)
    server.misbehave(cut=50_000, tag='W/"1"')
    get(server, tmp_path)
    assert_complete(tmp_path)
    assert [headers["If-Range"] for headers in server.requests] == [None, date, date, None]


def test_a_stall_is_given_up_and_continued(server: FileServer, tmp_path: Path) -> None:
    server.misbehave(stall=200_000)
    get(server, tmp_path)
    assert_complete(tmp_path)
    assert server.requests[1]["Range"] == "bytes=200000-"


def test_a_server_that_always_stalls_is_named(server: FileServer, tmp_path: Path) -> None:
    for _ in range(QUICK.attempts):
        server.misbehave(stall=0)
    assert_fails(server, tmp_path, "the server stalled, 3 times in a row. Try again later")


def test_a_file_that_changed_meanwhile_starts_anew(server: FileServer, tmp_path: Path) -> None:
    server.misbehave(cut=200_000, content=CONTENT[::-1], tag='"0"')
    get(server, tmp_path)
    assert_complete(tmp_path)
    assert server.requests[1]["If-Range"] == '"0"'


def test_a_shorter_file_than_what_came_before_starts_anew(server: FileServer, tmp_path: Path) -> None:
    server.misbehave(cut=300_000, content=CONTENT + b"more")
    server.misbehave(content=CONTENT[:1000])  # under the same tag
    get(server, tmp_path)
    assert_complete(tmp_path)
    assert [headers["Range"] for headers in server.requests] == [None, "bytes=300000-", None]


def test_a_server_that_ignores_ranges_starts_anew(server: FileServer, tmp_path: Path) -> None:
    server.misbehave(cut=200_000)
    server.misbehave(ranges=False)
    get(server, tmp_path)
    assert_complete(tmp_path)


def test_a_server_that_ignores_ranges_and_cuts_is_not_asked_forever(server: FileServer, tmp_path: Path) -> None:
    for cut in (200_000, 100_000, 150_000, 200_000):
        server.misbehave(ranges=False, cut=cut)
    assert_fails(server, tmp_path, "the connection ended after 150,000 of 512,000 bytes, 3 times in a row")
    assert len(server.requests) == 3


def test_what_was_complete_but_not_yet_moved_is_not_fetched_again(server: FileServer, tmp_path: Path) -> None:
    server.misbehave(cut=511_999)
    with pytest.raises(DownloadError):
        get(server, tmp_path, patience=Patience(0.3, 1, 0))
    with (tmp_path / "model.pth.part").open("ab") as part:
        part.write(CONTENT[-1:])
    get(server, tmp_path)
    assert_complete(tmp_path)
    assert [headers["Range"] for headers in server.requests] == [None, "bytes=512000-"]


def test_a_piece_that_was_not_asked_for_is_not_appended(server: FileServer, tmp_path: Path) -> None:
    server.misbehave(cut=200_000)
    server.misbehave(shift=10)
    get(server, tmp_path, digest="")
    assert_complete(tmp_path)


def test_what_came_from_another_address_is_not_continued(server: FileServer, tmp_path: Path) -> None:
    server.misbehave(cut=200_000, content=CONTENT[::-1])
    with pytest.raises(DownloadError):
        download(f"{server.url}/other.pth", tmp_path / "model.pth", patience=Patience(0.3, 1, 0))
    get(server, tmp_path)
    assert_complete(tmp_path)
    assert server.requests[1]["Range"] is None


def test_wrong_bytes_are_refused_and_removed(server: FileServer, tmp_path: Path) -> None:
    server.answer = replace(server.answer, content=CONTENT[:-1] + b"?")
    found = hashlib.sha256(server.answer.content).hexdigest()
    words = f"is another file than expected: its SHA256 is {found} instead of {SHA256}. Nothing was read from it."
    assert_fails(server, tmp_path, words, f"sha256:{SHA256}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_the_first_digits_of_a_digest_are_enough(server: FileServer, tmp_path: Path, kind: str) -> None:
    digits = hashlib.new(kind, CONTENT).hexdigest()[:6]
    assert get(server, tmp_path, f"{kind}:{digits}") == SHA256
    wrong = f"{digits[:5]}{'0' if digits[5] != '0' else '1'}"
    (tmp_path / "model.pth").unlink()
    assert_fails(server, tmp_path, f"instead of {wrong}...", f"{kind}:{wrong}")


def test_a_server_that_announces_more_than_it_has_is_named(server: FileServer, tmp_path: Path) -> None:
    server.answer = replace(server.answer, claim=1000)
    assert_fails(server, tmp_path, "3 times in a row")
    assert len(server.requests) <= 6


def test_a_server_that_announces_less_than_it_has_gives_a_wrong_file(server: FileServer, tmp_path: Path) -> None:
    server.answer = replace(server.answer, claim=-1000)
    assert_fails(server, tmp_path, "another file than expected", f"sha256:{SHA256}")


@pytest.mark.parametrize(
    ("status", "words"), [(404, "is not there (404 Not Found)"), (403, "refused it (403 Forbidden)")]
)
def test_a_clear_no_is_told_at_once(server: FileServer, tmp_path: Path, status: int, words: str) -> None:
    server.misbehave(status=status)
    assert_fails(server, tmp_path, words)
    assert len(server.requests) == 1


def test_a_busy_server_is_asked_again(server: FileServer, tmp_path: Path) -> None:
    server.misbehave(status=503)
    server.misbehave(status=429)
    get(server, tmp_path)
    assert_complete(tmp_path)


def test_no_network_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with pytest.raises(DownloadError, match=r"cannot be reached \(Connection refused\)\. Is there a network"):
        download(f"{closed_address()}/model.pth", tmp_path / "model.pth", patience=Patience(1, 100, 100))

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DownloadError, match=r"nowhere\.invalid cannot be reached \(its name is not known\)"):
        download("https://nowhere.invalid/model.pth", tmp_path / "model.pth", patience=Patience(1, 100, 100))


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/a", "model.pth"])
def test_only_web_addresses_are_fetched(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="not a http or https address"):
        download(url, tmp_path / "model.pth")


def test_a_proxy_of_the_environment_is_used(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("http_proxy", server.url)
    download("http://models.invalid/model.pth", tmp_path / "model.pth", patience=QUICK)
    assert_complete(tmp_path)
    assert server.paths == ["http://models.invalid/model.pth"]


def test_a_disk_too_small_is_seen_before_anything_is_written(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6, 1000))  # type: ignore[attr-defined]
    with pytest.raises(OSError, match=r"0\.5 MB are to come, 0\.0 MB free") as failure:
        get(server, tmp_path)
    assert failure.value.errno == errno.ENOSPC
    assert not (tmp_path / "model.pth.part").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, which Linux has")
def test_a_disk_that_becomes_full_is_an_error_of_the_disk(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "model.pth.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        get(server, tmp_path)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cuts=st.lists(st.integers(0, len(CONTENT)), max_size=5), ranges=st.lists(st.booleans(), min_size=5, max_size=5))
@example(cuts=[0, 0, len(CONTENT)], ranges=[True] * 5)
def test_whatever_is_cut_the_file_is_the_file(
    server: FileServer, tmp_path_factory: pytest.TempPathFactory, cuts: list[int], ranges: list[bool]
) -> None:
    folder = tmp_path_factory.mktemp("download")
    for cut, understood in zip(cuts, ranges, strict=False):
        server.misbehave(cut=cut, ranges=understood)
    get(server, folder, patience=Patience(0.3, 10, 0))
    assert_complete(folder)
    server.first.clear()
