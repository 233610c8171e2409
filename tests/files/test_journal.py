from __future__ import annotations

from pathlib import Path

import pytest

from panoptic_blend.files.journal import Journal

ROWS = [{"made_with": "x"}, {"name": "Straße\n猫"}, [1, 2.5, None], "text"]


def write(path: Path) -> list[int]:
    with Journal(path) as journal:
        return [journal.append(row) for row in ROWS]


def test_rows_are_read_back_by_a_later_journal_and_by_their_position(tmp_path: Path):
    positions = write(tmp_path / "j")
    with Journal(tmp_path / "j") as journal:
        assert list(journal) == list(zip(positions, ROWS, strict=True))
        added = journal.append("more")
        assert [journal.read(position) for position in [*positions, added]] == [*ROWS, "more"]


def test_a_row_can_be_read_while_the_process_that_wrote_it_goes_on(tmp_path: Path):
    with Journal(tmp_path / "j") as journal:
        journal.append("first")
        assert (tmp_path / "j").read_text() == '"first"\n'


def test_cut_anywhere_the_whole_rows_remain_and_the_next_ones_follow_them(tmp_path: Path):
    positions = write(tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    ends = [*positions[1:], len(whole)]
    for length in range(len(whole) + 1):
        (tmp_path / "cut").write_bytes(whole[:length])
        kept = ROWS[: sum(end <= length for end in ends)]
        with Journal(tmp_path / "cut") as journal:
            assert [row for _, row in journal] == kept
            journal.append("after")
        with Journal(tmp_path / "cut") as journal:
            assert [row for _, row in journal] == [*kept, "after"]


@pytest.mark.parametrize("damage", [b"\0\0\0\0\n", b'{"a": \n', b"\xff\xfe\n"])
def test_nothing_behind_a_damaged_row_is_trusted(tmp_path: Path, damage: bytes):
    write(tmp_path / "j")
    with open(tmp_path / "j", "ab") as file:
        file.write(damage + b'"behind"\n')
    with Journal(tmp_path / "j") as journal:
        assert [row for _, row in journal] == ROWS


def test_a_cleared_journal_begins_again(tmp_path: Path):
    write(tmp_path / "j")
    with Journal(tmp_path / "j") as journal:
        journal.clear()
        assert journal.append("new") == 0
        assert list(journal) == [(0, "new")]
