from __future__ import annotations

from pathlib import Path

import pytest

from panoptic_blend.data.shapes import generate_shapes


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small shapes data set, to be read only."""
    return generate_shapes(tmp_path_factory.mktemp("shapes"), train=7, val=3, seed=5)
