"""What is kept is bounded, and known to nobody else."""

from __future__ import annotations

import pytest

from panoptic_blend.serving.kept import Kept, KeptPictures
from panoptic_blend.serving.limits import Refusal
from panoptic_blend.serving.uploads import Picture


def entry(size: int) -> Kept:
    return Kept("model", Picture(bytes(size), 1, 1), None)


def test_the_one_that_was_asked_for_longest_ago_goes_first():
    kept = KeptPictures(100)
    first, second = kept.add(entry(40)), kept.add(entry(40))
    assert first is not None
    assert second is not None
    kept.get(first)
    third = kept.add(entry(50))
    assert third is not None
    assert kept.bytes == 90
    assert kept.get(first).size == 40
    assert kept.get(third).size == 50
    with pytest.raises(Refusal, match="Send it again"):
        kept.get(second)


def test_one_that_is_too_large_is_not_kept_and_drives_nothing_out():
    kept = KeptPictures(100)
    first = kept.add(entry(100))
    assert kept.add(entry(101)) is None
    assert first is not None
    assert kept.get(first).size == 100


def test_ids_cannot_be_guessed():
    kept = KeptPictures(100)
    ids = {kept.add(entry(1)) for _ in range(50)}
    assert len(ids) == 50
    assert all(len(each or "") >= 22 for each in ids)
