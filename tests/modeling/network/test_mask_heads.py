"""Every mask head against its formula written out in loops, one pixel at a time."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from panoptic_blend.errors import ConfigError
from panoptic_blend.modeling.network.locations import Sites
from panoptic_blend.modeling.network.masks.blender import Blender
from panoptic_blend.modeling.network.masks.centermask_point import ShapeTimesSaliency
from panoptic_blend.modeling.network.masks.condinst import ConditionalConvolutions
from panoptic_blend.modeling.network.masks.fcis import PositionSensitive
from panoptic_blend.modeling.network.masks.head import MaskFeatures, MaskHead, MaskRequest, logit_of_product
from panoptic_blend.modeling.network.masks.sag import SpatialAttentionGuided, adaptive_levels
from panoptic_blend.modeling.network.masks.yolact import LinearCombination
from tests.modeling.sampling import sample_bilinear

CHANNELS, R = 6, 8
STRIDES = [8, 16, 32]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def features(num_maps: int) -> MaskFeatures:
    """Two images of 64 x 96: bases at stride 4, levels at strides 8, 16, 32."""
    levels = [(8, 12), (4, 6), (2, 3)]
    return MaskFeatures(
        torch.randn(2, num_maps, 16, 24) if num_maps else None,
        [torch.randn(2, CHANNELS, *size) for size in levels],
        [torch.randn(2, CHANNELS, *size) for size in levels],
    )


def request() -> MaskRequest:
    """Four sites that share three boxes of two images; one box reaches over the border."""
    return MaskRequest(
        Sites(*(torch.tensor(v) for v in ([0, 1, 1, 1], [0, 1, 0, 2], [2, 0, 4, 1], [3, 3, 6, 2]))),
        torch.tensor([[4.0, 4.0, 30.0, 28.0], [0.0, 2.0, 12.0, 16.0], [20.0, 10.0, 100.0, 60.0]]),
        torch.tensor([0, 1, 1]),
        torch.tensor([1, 0, 2]),
        torch.tensor([0, 1, 1, 2]),
    )


def run(head: MaskHead, given: MaskFeatures, wanted: MaskRequest) -> Tensor:
    """The head's logits after its top layer was made to say something."""
    with torch.no_grad():
        return head(given, wanted)


def loud(head: MaskHead) -> MaskHead:
    top_layer = head.top_layer
    assert isinstance(top_layer, nn.Conv2d)
    nn.init.normal_(top_layer.weight, std=0.3)
    nn.init.normal_(top_layer.bias)  # type: ignore[arg-type]
    return head


def dense_prediction(head: MaskHead, given: MaskFeatures, sites: Sites, n: int) -> Tensor:
    """What the top layer, run over the whole level, says at site n: [outputs]."""
    image, level, row, column = (int(v[n]) for v in (sites.image, sites.level, sites.row, sites.column))
    top_layer = head.top_layer
    assert isinstance(top_layer, nn.Conv2d)
    with torch.no_grad():
        return top_layer(given.towers[level])[image, :, row, column]


def samples(wanted: MaskRequest, n: int) -> list[tuple[int, int, float, float]]:
    """(i, j, y, x) of every cell of site n's mask, y and x in image pixels."""
    assert wanted.box_of_site is not None
    x1, y1, x2, y2 = wanted.boxes[wanted.box_of_site[n]].tolist()
    return [
        (i, j, y1 + (i + 0.5) * (y2 - y1) / R, x1 + (j + 0.5) * (x2 - x1) / R)
        for i, j in itertools.product(range(R), range(R))
    ]


def read_map(one: Tensor, y: float, x: float, stride: int = 4) -> float:
    return sample_bilinear(one, y / stride - 0.5, x / stride - 0.5)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def stretch(shape: Tensor, i: int, j: int) -> float:
    """Cell (i, j) of a square map enlarged to R x R, bilinear at cell centres, clamped at the border."""
    side = len(shape)
    y, x = (min(max((v + 0.5) * side / R - 0.5, 0.0), side - 1.0) for v in (i, j))
    return sample_bilinear(shape, y, x)


def test_blender_mixes_sampled_bases_by_softmaxed_attention() -> None:
    head, given, wanted = loud(Blender(CHANNELS, 3, R, attention_size=4)), features(3), request()
    logits = run(head, given, wanted)
    assert given.bases is not None
    for n in range(4):
        attention = dense_prediction(head, given, wanted.sites, n).view(3, 4, 4)
        image = int(wanted.sites.image[n])
        for i, j, y, x in samples(wanted, n):
            weights = [math.exp(stretch(attention[k], i, j)) for k in range(3)]
            values = [read_map(given.bases[image, k], y, x) for k in range(3)]
            expected = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
            assert logits[n, i, j].item() == pytest.approx(expected, abs=1e-4)


def test_a_single_basis_is_multiplied_with_its_attention() -> None:
    head, given, wanted = loud(Blender(CHANNELS, 1, R, attention_size=4)), features(1), request()
    probability = run(head, given, wanted).sigmoid()
    assert given.bases is not None
    for n in range(4):
        attention = dense_prediction(head, given, wanted.sites, n).view(4, 4)
        for i, j, y, x in samples(wanted, n):
            basis = read_map(given.bases[int(wanted.sites.image[n]), 0], y, x)
            assert probability[n, i, j].item() == pytest.approx(
                sigmoid(basis) * sigmoid(stretch(attention, i, j)), abs=1e-4
            )


def test_yolact_cuts_the_box_from_prototypes_added_up_over_the_whole_image() -> None:
    head, given, wanted = loud(LinearCombination(CHANNELS, 5, R)), features(5), request()
    logits = run(head, given, wanted)
    assert given.bases is not None
    for n in range(4):
        coefficients = dense_prediction(head, given, wanted.sites, n).tanh()
        prototypes = given.bases[int(wanted.sites.image[n])].clamp(min=0)
        whole = torch.zeros(16, 24)
        for k in range(5):
            whole += coefficients[k] * prototypes[k]
        for i, j, y, x in samples(wanted, n):
            assert logits[n, i, j].item() == pytest.approx(read_map(whole, y, x), abs=1e-4)


def test_fcis_reads_each_part_of_the_box_from_its_own_map() -> None:
    head, given, wanted = PositionSensitive(9, R), features(9), request()
    logits = run(head, given, wanted)
    assert given.bases is not None
    assert wanted.box_of_site is not None
    for n in range(4):
        x1, y1, x2, y2 = wanted.boxes[wanted.box_of_site[n]].tolist()
        for i, j, y, x in samples(wanted, n):
            part_row, part_column = int((y - y1) / (y2 - y1) * 3), int((x - x1) / (x2 - x1) * 3)
            score_map = given.bases[int(wanted.sites.image[n]), 3 * part_row + part_column]
            assert logits[n, i, j].item() == pytest.approx(read_map(score_map, y, x), abs=1e-4)


def test_fcis_needs_a_square_number_of_maps() -> None:
    with pytest.raises(ConfigError, match=r"num_bases is 50.* 49 or 64"):
        PositionSensitive(50)


@pytest.mark.parametrize("num_maps", [1, 3])
def test_centermask_multiplies_shape_and_saliency(num_maps: int) -> None:
    head, given, wanted = loud(ShapeTimesSaliency(CHANNELS, num_maps, R, shape_size=5)), features(num_maps), request()
    probability = run(head, given, wanted).sigmoid()
    assert given.bases is not None
    assert wanted.box_of_site is not None
    for n in range(4):
        shape = dense_prediction(head, given, wanted.sites, n).view(5, 5)
        label = int(wanted.labels[wanted.box_of_site[n]])
        saliency = given.bases[int(wanted.sites.image[n]), label if num_maps > 1 else 0]
        for i, j, y, x in samples(wanted, n):
            expected = sigmoid(stretch(shape, i, j)) * sigmoid(read_map(saliency, y, x))
            assert probability[n, i, j].item() == pytest.approx(expected, abs=1e-4)


def test_the_logit_of_a_product_survives_extremes() -> None:
    a = torch.tensor([0.3, -60.0, 90.0, 90.0, -200.0], requires_grad=True)
    b = torch.tensor([-1.2, 80.0, 90.0, -90.0, -200.0])
    logits = logit_of_product(a, b)
    probability = a.double().sigmoid() * b.double().sigmoid()
    torch.testing.assert_close(logits[0].double(), torch.logit(probability[0]))
    torch.testing.assert_close(logits[1:], torch.tensor([-60.0, 90.0 - math.log(2), -90.0, -400.0]))
    logits.sum().backward()
    assert a.grad is not None
    assert (a.grad[:3] > 0.4).all()


def test_condinst_runs_the_predicted_network_at_every_pixel() -> None:
    head = loud(ConditionalConvolutions(CHANNELS, STRIDES, (32, 64), 3, R, channels=4, num_layers=3))
    given, wanted = features(3), request()
    logits = run(head, given, wanted)
    assert given.bases is not None
    for n in range(4):
        numbers = dense_prediction(head, given, wanted.sites, n).tolist()
        assert len(numbers) == (5 * 4 + 4) + (4 * 4 + 4) + (4 * 1 + 1)
        level = int(wanted.sites.level[n])
        site_y, site_x = (
            int(index[n]) * STRIDES[level] + STRIDES[level] // 2 for index in (wanted.sites.row, wanted.sites.column)
        )
        for i, j, y, x in samples(wanted, n):
            values = [(site_x - x) / (32, 64, 128)[level], (site_y - y) / (32, 64, 128)[level]]
            values += [read_map(given.bases[int(wanted.sites.image[n]), k], y, x) for k in range(3)]
            rest = list(numbers)
            for outputs in (4, 4, 1):
                weights, rest = rest[: outputs * len(values)], rest[outputs * len(values) :]
                biases, rest = rest[:outputs], rest[outputs:]
                rows = [weights[o * len(values) : (o + 1) * len(values)] for o in range(outputs)]
                products = [[w * v for w, v in zip(row, values, strict=True)] for row in rows]
                values = [sum(terms) + bias for terms, bias in zip(products, biases, strict=True)]
                if outputs != 1:
                    values = [max(v, 0.0) for v in values]
            assert logits[n, i, j].item() == pytest.approx(values[0], abs=1e-3, rel=1e-4)


def test_condinst_predicts_the_published_169_parameters() -> None:
    head = ConditionalConvolutions(256, [8, 16, 32, 64, 128], (64, 128, 256, 512))
    assert head.top_layer.out_channels == 169


def test_sag_takes_the_coarser_level_the_larger_a_box_s_share_of_the_input() -> None:
    sides = (8, 60, 240, 300, 400)
    boxes = torch.tensor([[0.0, 0.0, s, s] for s in sides] + [[3.0, 3.0, 3.0, 3.0]])
    expected = [min(max(math.ceil(5 - math.log2(480 * 480 / (s * s))), 3), 5) for s in sides]
    assert adaptive_levels(boxes, 480.0 * 480.0).tolist() == [*expected, 3]
    assert set(expected) == {3, 4, 5}


def test_sag_pools_attends_doubles_and_picks_the_category_s_mask() -> None:
    head, given, wanted = SpatialAttentionGuided(CHANNELS, 3, R, channels=5, num_convs=2), features(0), request()
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.4)
    logits = run(head, given, wanted)
    assert wanted.box_of_site is not None
    for n in range(4):
        box = wanted.boxes[wanted.box_of_site[n]]
        x1, y1, x2, y2 = box.tolist()
        level = min(max(math.ceil(5 - math.log2(64 * 96 / ((x2 - x1) * (y2 - y1)))), 3), 5)
        image = int(wanted.sites.image[n])
        feature = given.pyramid[level - 3][image : image + 1]
        pooled = roi_align(feature, [box[None]], R // 2, 1 / 2**level, sampling_ratio=2, aligned=True)
        x = convolve(convolve(pooled[0], head.convs[0][0]).clamp(min=0), head.convs[1][0]).clamp(min=0)
        summary = torch.stack([x.max(dim=0).values, x.mean(dim=0)])
        x = x * convolve(summary, head.attention.conv).sigmoid()
        doubled = torch.zeros(5, R, R)
        for i, j, c in itertools.product(range(R), range(R), range(5)):
            taps = head.upsample.weight[:, c, i % 2, j % 2]
            doubled[c, i, j] = (x[:, i // 2, j // 2] * taps).sum() + head.upsample.bias[c]  # type: ignore[index]
        label = int(wanted.labels[wanted.box_of_site[n]])
        weight, bias = head.predictor.weight[label, :, 0, 0], head.predictor.bias[label]  # type: ignore[index]
        expected = (doubled.clamp(min=0) * weight[:, None, None]).sum(dim=0) + bias
        torch.testing.assert_close(logits[n], expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def convolve(x: Tensor, convolution: object) -> Tensor:
    """A 3x3 convolution of [C, h, w] with zero padding, tap after tap."""
    assert isinstance(convolution, nn.Conv2d)
    height, width = x.shape[1:]
    out = torch.zeros(convolution.out_channels, height, width)
    for o, i, j in itertools.product(range(convolution.out_channels), range(height), range(width)):
        total = 0.0 if convolution.bias is None else convolution.bias[o].item()
        for dy, dx in itertools.product((-1, 0, 1), (-1, 0, 1)):
            if 0 <= i + dy < height and 0 <= j + dx < width:
                total += (convolution.weight[o, :, dy + 1, dx + 1] * x[:, i + dy, j + dx]).sum().item()
        out[o, i, j] = total
    return out
