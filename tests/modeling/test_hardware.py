from __future__ import annotations

import logging

import pytest
import torch

from panoptic_blend.modeling.hardware import fast_precision, warn_of_slow_bf16

CPU, GPU = torch.device("cpu"), torch.device("cuda")
AVX2 = {"avx2": True, "avx512_f": False, "avx512_bf16": False, "amx_bf16": False}


@pytest.fixture(params=[(AVX2, False), (AVX2 | {"avx512_bf16": True}, True), (AVX2 | {"amx_bf16": True}, True)])
def processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the processor that is put in this machine's place has instructions for bf16."""
    capabilities, multiplies = request.param
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    return multiplies


def test_processors_take_bf16_where_they_multiply_it(processor: bool) -> None:
    assert fast_precision(CPU) == ("bf16" if processor else "fp32")


def test_imitated_bf16_is_warned_of(processor: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        warn_of_slow_bf16(CPU)
    assert ("ten times as long as fp32" in caplog.text) == (not processor)


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_gpus_take_bf16_from_ampere_on(
    capability: tuple[int, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)
    assert fast_precision(GPU) == expected
