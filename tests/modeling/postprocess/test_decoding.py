from __future__ import annotations

import torch
from torchvision.ops import box_iou

from panoptic_blend.modeling.network.fcos_head import HeadOutput
from panoptic_blend.modeling.network.locations import locate
from panoptic_blend.modeling.postprocess.decoding import decode

STRIDES = [8, 16]


def random_output(seed: int, classes: int = 3) -> HeadOutput:
    torch.manual_seed(seed)
    sizes = [(6, 5), (3, 3)]
    return HeadOutput(
        [torch.randn(2, classes, h, w) - 1 for h, w in sizes],
        [torch.rand(2, 4, h, w) * 3 for h, w in sizes],
        [torch.randn(2, 1, h, w) for h, w in sizes],
        [torch.randn(2, 4, h, w) for h, w in sizes],
    )


def decode_slowly(
    output: HeadOutput, image: int, threshold: float, top_k: int, iou: float, kept: int, with_centerness: bool
) -> list[tuple[float, int, list[float]]]:
    """One candidate at a time; greedy suppression over a sorted list."""
    candidates = []
    for logits, distances, centers, stride in zip(
        output.class_logits, output.distances, output.centerness, STRIDES, strict=True
    ):
        level = []
        classes, height, width = logits.shape[1:]
        for c in range(classes):
            for y in range(height):
                for x in range(width):
                    probability = logits[image, c, y, x].sigmoid()
                    weighted = probability * centers[image, 0, y, x].sigmoid()
                    if (weighted if with_centerness else probability) <= threshold:
                        continue
                    px, py = x * stride + stride // 2, y * stride + stride // 2
                    left, top, right, bottom = (distances[image, :, y, x] * stride).tolist()
                    level.append((weighted.sqrt().item(), c, [px - left, py - top, px + right, py + bottom]))
        candidates += sorted(level, key=lambda d: -d[0])[:top_k]
    result: list[tuple[float, int, list[float]]] = []
    for score, label, box in sorted(candidates, key=lambda d: -d[0]):
        rivals = [b for _, other, b in result if other == label]
        if not rivals or box_iou(torch.tensor([box]), torch.tensor(rivals)).max() <= iou:
            result.append((score, label, box))
    return result[:kept]


def test_decoding_equals_one_candidate_at_a_time() -> None:
    for seed in range(8):
        output = random_output(seed)
        with_centerness = seed % 2 == 0
        locations = locate(output.towers, STRIDES)
        found = decode(
            output, locations, seed % 2, 0.1, with_centerness, pre_nms_top_k=20, nms_iou=0.5, max_detections=10
        )
        expected = decode_slowly(output, seed % 2, 0.1, 20, 0.5, 10, with_centerness)
        assert found.labels.tolist() == [label for _, label, _ in expected]
        torch.testing.assert_close(found.scores, torch.tensor([score for score, _, _ in expected]))
        torch.testing.assert_close(found.boxes, torch.tensor([box for _, _, box in expected]), atol=1e-4, rtol=0)


def test_sites_point_back_at_the_cell_that_predicted_the_box() -> None:
    output = random_output(3)
    locations = locate(output.towers, STRIDES)
    found = decode(output, locations, 1, 0.1)
    for n in range(len(found.scores)):
        level, y, x = found.sites.level[n], found.sites.row[n], found.sites.column[n]
        assert found.sites.image[n] == 1
        left, top, *_ = output.distances[level][1, :, y, x] * STRIDES[level]
        center = torch.stack([x, y]) * STRIDES[level] + STRIDES[level] // 2
        torch.testing.assert_close(found.boxes[n, :2], center - torch.stack([left, top]))


def test_nothing_above_the_threshold_is_no_detection() -> None:
    output = random_output(0)
    found = decode(output, locate(output.towers, STRIDES), 0, score_threshold=0.999)
    assert found.boxes.shape == (0, 4)
    assert len(found.sites) == 0
