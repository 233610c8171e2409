from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from panoptic_blend.data.transforms import TrainingTransform


def picture_of(id_map: np.ndarray) -> torch.Tensor:
    """A picture whose colours are the ids, so that picture and map can be compared after augmentation."""
    return torch.from_numpy(np.stack([id_map & 255, id_map >> 8 & 255, id_map >> 16]).astype(np.uint8))


def blocks(height: int, width: int, size: int = 8) -> np.ndarray:
    """An id map of square blocks, each with an id of its own, the largest of 24 bits."""
    y, x = np.mgrid[:height, :width] // size
    return (256**3 - 1 - (y * (width // size + 1) + x) * 40_000).astype(np.int32)


@given(st.integers(0, 10**6))
def test_image_and_map_stay_on_top_of_each_other(seed: int) -> None:
    transform = TrainingTransform((32, 48, 80), 120, jitter=(0.5, 2.0), crop=(50, 70))
    id_map = blocks(48, 64)
    image, varied = transform(picture_of(id_map), id_map, np.random.default_rng(seed))
    assert image.shape == (3, 50, 70)
    assert image.dtype == torch.uint8
    assert varied.shape == (50, 70)
    assert set(np.unique(varied)) <= {0, *np.unique(id_map)}
    # Away from borders between blocks, where bilinear mixes, each colour still names its id.
    inner = np.pad(varied, 2, constant_values=-1)
    windows = np.lib.stride_tricks.sliding_window_view(inner, (5, 5))
    calm = (windows == varied[..., None, None]).all((2, 3))
    assert (picture_of(varied).numpy()[:, calm] == image.numpy()[:, calm]).all()
    assert calm.any()


def test_resized_map_is_centred_on_the_resized_image() -> None:
    """Half of each pixel lies left and half right of its centre: upscaling must not shift the map."""
    id_map = np.array([[1, 2]], dtype=np.int32).repeat(2, axis=0)
    for width in (3, 5, 6, 10):
        transform = TrainingTransform((width,), 10**6, flip=0)
        _, varied = transform(picture_of(id_map), id_map, np.random.default_rng(0))
        columns = (np.arange(width) + 0.5) * 2 / width
        assert varied[0].tolist() == [1 + int(c) for c in columns]


def test_smaller_images_are_padded_at_the_bottom_and_right() -> None:
    id_map = np.full((10, 12), 5, dtype=np.uint8)
    image = torch.full((3, 10, 12), 200, dtype=torch.uint8)
    transform = TrainingTransform((10,), 100, crop=(16, 20), flip=1, color=0.1)
    image, varied = transform(image, id_map, np.random.default_rng(0))
    expected = np.zeros((16, 20), dtype=np.uint8)
    expected[:10, :12] = 1
    assert (varied == 5 * expected).all()
    assert ((image.numpy() > 0) == expected).all()


def test_crops_reach_every_corner() -> None:
    id_map = np.arange(16, dtype=np.uint8).reshape(4, 4)
    seen = set()
    transform = TrainingTransform((4,), 4, crop=(3, 3), flip=0)
    for seed in range(40):
        _, varied = transform(picture_of(id_map.astype(np.int32)), id_map, np.random.default_rng(seed))
        seen.add(int(varied[0, 0]))
    assert seen == {0, 1, 4, 5}


def test_flip_mirrors_both() -> None:
    id_map = blocks(16, 24)
    image, varied = TrainingTransform((16,), 24, flip=1)(picture_of(id_map), id_map, np.random.default_rng(0))
    assert (varied == id_map[:, ::-1]).all()
    assert (image.numpy() == picture_of(id_map).numpy()[..., ::-1]).all()


def test_colour_changes_the_image_alone() -> None:
    id_map = blocks(16, 24)
    image, varied = TrainingTransform((16,), 24, flip=0, color=0.4)(
        picture_of(id_map), id_map, np.random.default_rng(0)
    )
    assert (varied == id_map).all()
    assert not torch.equal(image, picture_of(id_map))


def test_equal_generators_give_equal_results_and_leave_the_global_ones_alone() -> None:
    transform = TrainingTransform((32, 48), 120, jitter=(0.5, 2.0), crop=(50, 70), color=0.3)
    id_map = blocks(48, 64)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = transform(picture_of(id_map), id_map, np.random.default_rng(4))
    second = transform(picture_of(id_map), id_map, np.random.default_rng(4))
    assert torch.equal(first[0], second[0])
    assert (first[1] == second[1]).all()
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002


def test_bands_are_varied_in_any_number_and_depth() -> None:
    id_map = blocks(16, 24)
    transform = TrainingTransform((16,), 24, flip=0, color=0.4)

    def vary(image: torch.Tensor) -> torch.Tensor:
        return transform(image, id_map, np.random.default_rng(0))[0]

    colors = picture_of(id_map)
    image = torch.cat([colors, torch.arange(16 * 24, dtype=torch.int64).remainder(200).to(torch.uint8).view(1, 16, 24)])
    varied = vary(image)
    assert varied.dtype == torch.uint8
    assert torch.equal(varied[:3], vary(colors))  # as without the fourth
    gray = vary(image[3:].repeat(3, 1, 1))[0]  # where saturation changes nothing
    torch.testing.assert_close(varied[3].float(), gray.float(), rtol=0, atol=2)
    assert torch.equal(vary(image[3:])[0], varied[3])
    assert torch.equal(vary(image[[3, 3]])[0], varied[3])
    deep = vary(image.float())
    assert deep.is_floating_point()
    torch.testing.assert_close(deep, varied.float(), rtol=0, atol=3)  # which rounds, and drops what is behind the point
    assert 0 <= deep.min() < deep.max() <= 255
