from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import functional as F

from panoptic_blend.resizing import output_size, resize_image, resize_shortest_edge


@pytest.mark.parametrize(
    ("size", "shortest", "longest", "expected"),
    [
        ((480, 640), 800, 1333, (800, 1067)),  # 1066.67 rounds up
        ((427, 640), 800, 1333, (800, 1199)),
        ((300, 1000), 800, 1333, (400, 1333)),
        ((1000, 300), 800, 1333, (1333, 400)),
        ((800, 800), 800, 1333, (800, 800)),
        ((1, 1000), 10, 20, (1, 20)),
    ],
)
def test_output_size_is_the_familiar_one(size, shortest, longest, expected) -> None:
    assert output_size(*size, shortest, longest) == expected


def test_prediction_resize_is_an_antialiased_bilinear_one() -> None:
    image = torch.randint(0, 256, (3, 60, 90), dtype=torch.uint8)
    resized = resize_shortest_edge(image, 40, 1000)
    assert resized.dtype == torch.uint8
    expected = torch.nn.functional.interpolate(image[None].float(), (40, 60), mode="bilinear", antialias=True)[0]
    assert (resized.float() - expected).abs().max() <= 1  # rounding


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("size", [(40, 60), (97, 130), (60, 90)])
def test_images_are_resized_as_torchvision_does(size, dtype, layout) -> None:
    image = torch.randint(0, 256, (1, 3, 60, 90)).to(dtype).contiguous(memory_format=layout)[0]
    resized = resize_image(image, size)
    assert resized.dtype == dtype
    # Some kinds of CPUs make torchvision resize bytes by way of floats, others with rounded weights, as we always do.
    rounding = 1 if dtype == torch.uint8 else 0
    torch.testing.assert_close(resized, F.resize(image, list(size), antialias=True), rtol=0, atol=rounding)
    assert resize_image(image[:0], size).shape == F.resize(image[:0], list(size), antialias=True).shape
