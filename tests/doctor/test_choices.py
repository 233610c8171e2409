"""What 'auto' is said to take is what it takes."""

from __future__ import annotations

import pytest
import torch

from panoptic_blend.doctor import choices
from panoptic_blend.modeling import hardware


@pytest.mark.parametrize(("multiplies", "words"), [(True, "cpu and bf16"), (False, "cpu and fp32")])
def test_precision_is_that_of_auto(multiplies: bool, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(hardware, "_multiplies_bf16", lambda device: multiplies)
    text = "\n".join(choices.describe_choices())
    assert f"'auto' takes the {words}" in text
    assert ("only imitates bf16" in text) != multiplies
    assert "GPU: none that torch sees" in text


def test_the_speed_check_predicts_and_multiplies_within_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "SIDE", 64)
    predicted, multiplied = choices.check_speed(seconds=0.0)
    assert "64x64 pixels" in predicted
    assert "(1 times)" in predicted
    assert "matmul" in multiplied
    assert "conv" in multiplied
