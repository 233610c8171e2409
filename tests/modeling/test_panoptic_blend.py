from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from panoptic_blend.categories import IGNORE, Categories, Category
from panoptic_blend.config import BasesConfig, FCOSConfig, FPNConfig, InputConfig, ModelConfig, SemanticConfig
from panoptic_blend.errors import ConfigError, DatasetError
from panoptic_blend.modeling.build import build_model
from panoptic_blend.modeling.criterion import Criterion
from panoptic_blend.modeling.input_rule import InputRule
from panoptic_blend.modeling.network.fcos_head import HeadOutput
from panoptic_blend.modeling.network.locations import Locations
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.structures import Targets
from tests.tiny import MASK_HEADS, talkative_model_config, tiny_model_config, tiny_model_config_with

CATEGORIES = Categories.from_json(
    [
        {"id": 4, "name": "ball", "isthing": 1},
        {"id": 2, "name": "grass", "isthing": 0},
        {"id": 9, "name": "box", "isthing": 1},
        {"id": 7, "name": "sky", "isthing": 0},
    ]
)
INSTANCE_ONLY = replace(
    tiny_model_config(),
    bases=BasesConfig(kind="fpn", channels=16),
    semantic=SemanticConfig(enabled=False),
    fpn=FPNConfig(channels=16, finest_level=3, coarsest_level=5),
)
STUFF = Categories(CATEGORIES.stuff)


def tiny_model(**changes: object) -> PanopticBlend:
    torch.manual_seed(0)
    return build_model(replace(tiny_model_config(), **changes), CATEGORIES)  # type: ignore[arg-type]


def scene(height: int, width: int, boxes: list[tuple[int, int, int, int]]) -> tuple[Tensor, Targets]:
    """Bright rectangles (things) on grass below sky."""
    image = torch.full((3, height, width), 60, dtype=torch.uint8)
    semantic = torch.full((height, width), 2)
    semantic[height // 2 :] = 1
    image[2, : height // 2] = 220
    image[1, height // 2 :] = 160
    masks = torch.zeros(len(boxes), height, width, dtype=torch.bool)
    for index, (x1, y1, x2, y2) in enumerate(boxes):
        masks[index, y1:y2, x1:x2] = True
        image[:, y1:y2, x1:x2] = torch.tensor([250, 40 + 180 * (index % 2), 30])[:, None, None].to(torch.uint8)
        semantic[y1:y2, x1:x2] = 0
    labels = torch.arange(len(boxes)) % 2
    boxes_of_masks = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return image, Targets.from_masks(boxes_of_masks, labels, masks, semantic)


def training_losses(model: PanopticBlend, *scenes: tuple[Tensor, Targets]) -> dict[str, Tensor]:
    return model([image for image, _ in scenes], [targets for _, targets in scenes])


@pytest.fixture(params=MASK_HEADS)
def every_head(request: pytest.FixtureRequest) -> ModelConfig:
    return tiny_model_config_with(request.param)


ALL_LOSSES = {"loss_fcos_cls", "loss_fcos_loc", "loss_fcos_ctr", "loss_mask", "loss_sem_seg", "loss_basis_sem"}


def test_gradients_reach_every_parameter_of_every_mask_head(every_head: ModelConfig) -> None:
    assert_gradients_everywhere(every_head)


@pytest.mark.parametrize(
    "bases",
    [
        BasesConfig(kind="fpn", channels=16, num_bases=3),
        BasesConfig(kind="deeplab", channels=16, num_bases=3),
        BasesConfig(kind="deeplab", channels=8, num_bases=1, deeplab_detail=2, norm="group"),
    ],
    ids=lambda bases: f"{bases.kind}{bases.deeplab_detail}",
)
def test_gradients_reach_every_parameter_of_every_bottom_module(bases: BasesConfig) -> None:
    assert_gradients_everywhere(replace(tiny_model_config(), bases=bases))


def test_gradients_reach_every_parameter_of_the_real_time_layout() -> None:
    fcos = FCOSConfig(num_shared_convs=3, num_convs=0, norm="batch", sizes_of_interest=(16, 32, 64))
    fpn = FPNConfig(channels=16, coarsest_level=6)
    assert_gradients_everywhere(replace(tiny_model_config(), fcos=fcos, fpn=fpn))


def assert_gradients_everywhere(config: ModelConfig) -> None:
    torch.manual_seed(0)
    model = build_model(config, CATEGORIES)
    losses = training_losses(model, scene(64, 96, [(5, 6, 40, 50), (50, 20, 80, 45)]), scene(50, 70, [(3, 3, 30, 30)]))
    assert losses.keys() == ALL_LOSSES
    sum(losses.values(), torch.zeros(())).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_images_without_objects_give_finite_losses_and_gradients_everywhere(every_head: ModelConfig) -> None:
    model = build_model(every_head, CATEGORIES)
    losses = training_losses(model, scene(64, 96, []), scene(40, 64, []))
    assert all(loss.isfinite() for loss in losses.values())
    assert losses["loss_mask"] == 0
    sum(losses.values(), torch.zeros(())).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{name}: distributed training needs a gradient from every process"
        assert parameter.grad.isfinite().all()


def test_without_objects_every_location_is_background_and_counts_whole() -> None:
    model = tiny_model().eval()
    image, targets = scene(64, 96, [])
    logits = torch.cat([each.flatten() for each in model.network(model.input_rule([image])).detector.class_logits])
    expected = 0.75 * (logits.sigmoid() ** 2 * torch.nn.functional.softplus(logits)).sum()
    torch.testing.assert_close(model([image], [targets])["loss_fcos_cls"], expected)


def test_one_pixel_boxes_and_void_images_are_harmless() -> None:
    model = tiny_model()
    image, targets = scene(64, 96, [(5, 6, 6, 7), (95, 63, 96, 64)])
    targets.semantic[:] = IGNORE
    losses = training_losses(model, (image, targets))
    assert all(loss.isfinite() for loss in losses.values())


def test_an_image_s_losses_do_not_depend_on_its_dtype() -> None:
    model = tiny_model()
    image, targets = scene(64, 96, [(5, 6, 40, 50)])
    for a, b in zip(model([image], [targets]).values(), model([image.float()], [targets]).values(), strict=True):
        torch.testing.assert_close(a, b)


def test_bgr_models_see_the_channels_flipped() -> None:
    image, _ = scene(64, 96, [(5, 6, 40, 50)])
    rgb = tiny_model(input=InputConfig(pixel_mean=(1, 2, 3), pixel_std=(4, 5, 6)))
    bgr = tiny_model(input=InputConfig(pixel_mean=(3, 2, 1), pixel_std=(6, 5, 4), channel_order="BGR"))
    torch.testing.assert_close(bgr.input_rule([image]), rgb.input_rule([image]).flip(1))


def test_bands_behind_bgr_stay_where_they_are() -> None:
    image = torch.randint(0, 255, (5, 40, 70), dtype=torch.uint8)
    rgb = InputRule((1, 2, 3, 7, 8), (4, 5, 6, 7, 8), flip_channels=False)
    bgr = InputRule((3, 2, 1, 7, 8), (6, 5, 4, 7, 8), flip_channels=True)
    torch.testing.assert_close(bgr([image])[:, [2, 1, 0, 3, 4]], rgb([image]))
    with pytest.raises(DatasetError, match=r"image of 3 channels: the model reads 5 \(model\.input\.channels\)"):
        rgb([image[:3]])


def test_batches_are_padded_with_zeros_after_normalisation() -> None:
    images = [torch.randint(0, 255, (3, 40, 70), dtype=torch.uint8), torch.randint(0, 255, (3, 64, 33)).float()]
    model = tiny_model()
    batch = model.input_rule(images)
    assert batch.shape == (2, 3, 64, 96)
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    expected = (images[0].float() - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(batch[0, :, :40, :70], expected)
    assert not batch[0, :, 40:].any()
    assert not batch[1, :, :, 33:].any()


def test_predictions_come_at_the_size_asked_for_and_leave_the_mode_alone(every_head: ModelConfig) -> None:
    every_head.fcos.score_threshold = 0.0
    model = build_model(every_head, CATEGORIES).train()
    torch.nn.init.constant_(model.network.head.distances.bias, 2.0)  # type: ignore[arg-type]
    images = [scene(64, 96, [])[0], scene(50, 40, [])[0]]
    predictions = model.predict(images, [(100, 33), (50, 40)])
    assert all(module.training for module in model.modules())
    for prediction, size in zip(predictions, [(100, 33), (50, 40)], strict=True):
        assert prediction.id_map.shape == prediction.semantic.shape == size
        assert prediction.instances.masks.shape == (len(prediction.instances), *size)
        assert (prediction.instances.boxes[:, 2] <= size[1]).all()
        assert {s.id for s in prediction.segments} == set(prediction.id_map[prediction.id_map > 0].tolist())
        assert len(prediction.instances) > 0


def test_predicting_leaves_every_part_in_its_own_mode() -> None:
    model = tiny_model().train()
    model.network.backbone.eval()  # as one does to keep its statistics
    before = {name: module.training for name, module in model.named_modules()}
    model.predict([scene(64, 96, [])[0]])
    assert {name: module.training for name, module in model.named_modules()} == before


def test_settings_are_read_at_every_prediction_and_describe_the_model() -> None:
    torch.manual_seed(0)
    model = build_model(talkative_model_config(), CATEGORIES).eval()
    torch.nn.init.constant_(model.network.head.distances.bias, 2.0)  # type: ignore[union-attr, arg-type]
    image = scene(64, 96, [])[0]
    (many,) = model.predict([image])
    assert {segment.is_thing for segment in many.segments} == {True, False}
    model.settings.min_stuff_area = 64 * 96 + 1
    model.settings.max_detections = 3
    (few,) = model.predict([image])
    assert 0 < len(few.instances) <= 3 < len(many.instances)
    assert {segment.is_thing for segment in few.segments} == {True}
    assert (model.config.merge.min_stuff_area, model.config.fcos.max_detections) == (64 * 96 + 1, 3)
    model.settings.shortest_edge, model.settings.longest_edge = 32, 40
    assert model.resize(image).shape == (3, 27, 40)
    model.settings.min_score = 45
    with pytest.raises(ConfigError, match=r"model\.merge\.min_score is 45"):
        model.predict([image])


def test_tensors_of_another_runtime_enter_the_post_processor_as_they_are() -> None:
    model = build_model(talkative_model_config(), CATEGORIES).eval()
    image = scene(64, 96, [])[0]

    def elsewhere(value: object) -> object:
        """Every tensor by way of numpy, as another runtime would hand it over."""
        if isinstance(value, Tensor):
            return torch.from_numpy(value.numpy().copy())
        if isinstance(value, list):
            return [elsewhere(each) for each in value]
        return type(value)(*map(elsewhere, value)) if isinstance(value, tuple) else value

    with torch.no_grad():
        output = elsewhere(model.network(model.input_rule([image])))
    (expected,) = model.predict([image], [(50, 80)])
    with torch.no_grad():
        (found,) = model.postprocess(output, [(64, 96)], [(50, 80)])  # type: ignore[arg-type]
    assert (found.id_map == expected.id_map).all()
    assert found.segments == expected.segments


def test_an_assigner_may_look_at_predictions() -> None:
    model = tiny_model()
    image, targets = scene(64, 96, [(5, 6, 40, 50)])
    seen = []

    def most_certain(output: HeadOutput, image: int, locations: Locations, targets: Targets) -> tuple[Tensor, Tensor]:
        """The one location that is surest of the box's class learns it."""
        seen.append(image)
        logits = torch.cat([level[image].flatten(1) for level in output.class_logits], dim=1)
        matched = torch.full((logits.shape[1],), -1)
        matched[logits[targets.labels[0]].argmax()] = 0
        return matched, torch.ones(len(matched), 4)

    criterion = model.criterion
    assert isinstance(criterion, Criterion)
    criterion.assign = most_certain
    losses = model([image, image], [targets, targets])
    assert seen == [0, 1]
    assert all(loss.isfinite() for loss in losses.values())


def test_a_criterion_is_exchanged_as_a_whole() -> None:
    model = tiny_model()
    model.criterion = lambda output, targets: {"loss": output.semantic.mean() * len(targets)}
    image, targets = scene(64, 96, [])
    assert model([image, image], [targets, targets]).keys() == {"loss"}


def test_a_batch_predicts_what_its_images_predict_alone() -> None:
    torch.manual_seed(0)
    model = build_model(talkative_model_config(), CATEGORIES).eval()
    torch.nn.init.constant_(model.network.head.distances.bias, 2.0)  # type: ignore[union-attr, arg-type]
    images = [scene(64, 96, [(5, 6, 40, 50)])[0], scene(64, 96, [(50, 20, 80, 45)])[0]]
    for together, image in zip(model.predict(images), images, strict=True):
        (alone,) = model.predict([image])
        assert {segment.is_thing for segment in alone.segments} == {True, False}
        torch.testing.assert_close(together.instances.boxes, alone.instances.boxes, atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(together.instances.mask_patches, alone.instances.mask_patches, atol=1e-4, rtol=0)
        assert [(s.category_id, s.is_thing) for s in together.segments] == [
            (s.category_id, s.is_thing) for s in alone.segments
        ]


def test_no_detections_still_give_stuff(every_head: ModelConfig) -> None:
    every_head.fcos.score_threshold = 0.99
    every_head.merge.min_stuff_area = 0
    model = build_model(every_head, CATEGORIES)
    model.network.stuff_predictor.bias.data[0] = -100.0  # type: ignore[union-attr]  # nowhere a thing
    (prediction,) = model.predict([scene(64, 96, [])[0]])
    assert len(prediction.instances) == 0
    assert prediction.instances.masks.shape == (0, 64, 96)
    assert not any(segment.is_thing for segment in prediction.segments)
    categories = {segment.id: segment.category_id for segment in prediction.segments}
    for id_, label in np.unique(np.stack([prediction.id_map, prediction.semantic]).reshape(2, -1), axis=1).T:
        assert categories[id_] == CATEGORIES.stuff[label - 1].id


def test_an_instance_only_model_trains_and_predicts_without_stuff() -> None:
    talkative = talkative_model_config()
    torch.manual_seed(0)
    model = build_model(replace(INSTANCE_ONLY, fcos=talkative.fcos, merge=talkative.merge), CATEGORIES)
    torch.nn.init.constant_(model.network.head.distances.bias, 2.0)  # type: ignore[arg-type]
    losses = training_losses(model, scene(64, 96, [(5, 6, 40, 50)]))
    assert losses.keys() == ALL_LOSSES - {"loss_sem_seg"}
    (prediction,) = model.predict([scene(64, 96, [])[0]])
    assert prediction.segments
    assert all(segment.is_thing for segment in prediction.segments)
    no_instance = ~prediction.instances.masks.numpy().any(axis=0)
    assert no_instance.any()
    assert not prediction.id_map[no_instance].any()


@pytest.mark.parametrize("bases", [BasesConfig(kind=kind, channels=16) for kind in ("shared", "fpn", "deeplab")])
@pytest.mark.parametrize("head", ["blender", "condinst", "sag"])
def test_a_stuff_only_model_is_the_semantic_branch_alone(bases: BasesConfig, head: str) -> None:
    fcos, fpn = FCOSConfig(sizes_of_interest=(16, 32, 64, 128)), FPNConfig(channels=16)
    model = build_model(replace(tiny_model_config_with(head), bases=bases, fcos=fcos, fpn=fpn), STUFF)
    losses = training_losses(model, scene(64, 96, []), scene(50, 70, []))
    assert losses.keys() == {"loss_sem_seg"}
    losses["loss_sem_seg"].backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    parts = {name.split(".")[1] for name in model.state_dict()}
    assert parts == {"backbone", "fpn", "trunk", "stuff_predictor"}


def test_a_stuff_only_model_learns_a_scene_by_heart() -> None:
    config = tiny_model_config()
    config.merge.min_stuff_area = 50
    torch.manual_seed(0)
    model = build_model(config, STUFF)
    image, targets = scene(64, 96, [])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model([image], [targets])["loss_sem_seg"].backward()
        optimizer.step()
    for prediction, size in zip(
        model.predict([image, image[:, :40]], [(128, 192), (40, 96)]), [(128, 192), (40, 96)], strict=True
    ):
        assert len(prediction.instances) == 0
        assert prediction.instances.masks.shape == (0, *size)
        assert prediction.id_map.shape == prediction.semantic.shape == size
        assert {(s.category_id, s.is_thing, s.score) for s in prediction.segments} == {(2, False, 1.0), (7, False, 1.0)}
        found = {s.category_id: prediction.id_map == s.id for s in prediction.segments}
        middle = 32 * size[1] // 96
        assert found[7][:middle].mean() > 0.95
        assert found[2][middle:].mean() > 0.95


def test_things_alone_leave_the_semantic_branch_nothing_to_tell_apart() -> None:
    torch.manual_seed(0)
    model = build_model(talkative_model_config(), Categories(CATEGORIES.things))
    torch.nn.init.constant_(model.network.head.distances.bias, 2.0)  # type: ignore[union-attr, arg-type]
    image, targets = scene(64, 96, [(5, 6, 40, 50)])
    targets.semantic[targets.semantic > 0] = IGNORE  # what is no thing is void
    losses = training_losses(model, (image, targets))
    assert losses.keys() == ALL_LOSSES
    assert losses["loss_sem_seg"] == 0
    sum(losses.values(), torch.zeros(())).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    (prediction,) = model.predict([image])
    assert prediction.segments
    assert all(segment.is_thing for segment in prediction.segments)
    assert not prediction.semantic.any()


def test_labels_beyond_a_byte_reach_the_map() -> None:
    stuff = [Category(100 + number, f"stuff {number}", False, (0, 0, 0)) for number in range(300)]
    config = tiny_model_config()
    config.merge.min_stuff_area = 0
    model = build_model(config, Categories([*CATEGORIES.things, *stuff]))
    torch.nn.init.constant_(model.network.stuff_predictor.bias[-1:], 1000.0)  # type: ignore[union-attr, index]
    (prediction,) = model.predict([scene(64, 96, [])[0]])
    assert prediction.semantic.dtype == np.uint16
    assert (prediction.semantic == 300).all()
    assert [(s.category_id, s.area) for s in prediction.segments] == [(399, 64 * 96)]


def test_one_scene_is_learned_by_heart(every_head: ModelConfig) -> None:
    every_head.merge.min_stuff_area = 50
    torch.manual_seed(0)
    model = build_model(every_head, CATEGORIES)
    image, targets = scene(64, 96, [(6, 8, 36, 44), (50, 20, 86, 50)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(200):
        optimizer.zero_grad()
        sum(model([image], [targets]).values(), torch.zeros(())).backward()
        optimizer.step()
    (prediction,) = model.predict([image])
    found = {(s.category_id, s.is_thing): torch.from_numpy(prediction.id_map == s.id) for s in prediction.segments}
    truth = {
        (4, True): targets.masks[0],
        (9, True): targets.masks[1],
        (2, False): targets.semantic == 1,
        (7, False): targets.semantic == 2,
    }
    assert found.keys() == truth.keys()
    for key, mask in truth.items():
        assert (found[key] & mask).sum() / (found[key] | mask).sum() > 0.85, key


def test_contradictions_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"no thing categories .*model\.semantic\.enabled is false"):
        build_model(INSTANCE_ONLY, STUFF)
    with pytest.raises(ConfigError, match=r"model\.fcos\.sizes_of_interest"):
        ModelConfig(fcos=FCOSConfig(sizes_of_interest=(64,)))


def test_the_default_is_the_published_size() -> None:
    config = ModelConfig()
    config.backbone.weights, config.backbone.norm = "none", "batch"
    with torch.device("meta"):
        model = build_model(config, CATEGORIES)
    assert model.postprocess.strides == [8, 16, 32, 64, 128]
    assert model.mask_head.top_layer.out_channels == 4 * 14 * 14
