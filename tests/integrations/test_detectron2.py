"""The model inside detectron2, for real: trained, resumed, evaluated, drawn. Skipped where detectron2 is missing."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from panoptic_blend.categories import IGNORE, Categories, Category
from panoptic_blend.checkpoints.native import save_model
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.id_maps import read_segments
from panoptic_blend.coco.segments_png import write_id_map
from panoptic_blend.config import Config, DataConfig
from panoptic_blend.config_files import write_config
from panoptic_blend.data.images import read_image
from panoptic_blend.data.targets import derive_targets
from panoptic_blend.errors import ConfigError, DatasetError
from panoptic_blend.evaluation.pq import panoptic_quality
from panoptic_blend.modeling.build import build_model as build_model_of_ours
from tests.coco.panoptic_files import small_id_map, write_small
from tests.stuff_sets import relabel_as_stuff
from tests.tiny import tiny_model_config

pytest.importorskip("detectron2", reason="detectron2 is not installed; it is built from its repository")
# isort: split
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, DatasetMapper, MetadataCatalog
from detectron2.data.datasets import register_coco_panoptic, register_coco_panoptic_separated
from detectron2.data.transforms import FixedSizeCrop
from detectron2.engine import DefaultPredictor, default_argument_parser
from detectron2.evaluation import COCOPanopticEvaluator
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks

from panoptic_blend.integrations.detectron2 import (
    PanopticMapper,
    add_panoptic_blend_config,
    panoptic_metadata,
    register_panoptic,
)
from panoptic_blend.integrations.detectron2_ids import ContiguousIds

REPOSITORY = Path(__file__).resolve().parents[2]
TRAIN, VAL = "panoptic_blend_train", "panoptic_blend_val"


@pytest.fixture(autouse=True)
def _forget_data_sets() -> Any:
    yield
    for name in set(DatasetCatalog.list()) & {TRAIN, VAL, "plain", "split_separated", "split_stuffonly"}:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = REPOSITORY / "tools" / "train_detectron2.py"
    spec = importlib.util.spec_from_file_location("train_detectron2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tiny_yaml(tmp_path_factory: pytest.TempPathFactory, shapes_root: Path) -> Path:
    """The tiny model, with thresholds low enough for it to answer something after a few steps."""
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    model = tiny_model_config()
    model.merge.min_score, model.merge.min_stuff_area = 0.05, 16
    write_config(Config(model=model, data=DataConfig(root=str(shapes_root))), path)
    return path


def options(tiny_yaml: Path, output: Path, *more: object) -> list[str]:
    settings: dict[str, object] = {
        "MODEL.DEVICE": "cpu",
        "MODEL.PANOPTIC_BLEND.CONFIG": tiny_yaml,
        "DATASETS.TRAIN": f"('{TRAIN}',)",
        "DATASETS.TEST": f"('{VAL}',)",
        "DATALOADER.NUM_WORKERS": 0,
        "INPUT.MIN_SIZE_TRAIN": "(64,)",
        "INPUT.MIN_SIZE_TEST": 64,
        "SOLVER.IMS_PER_BATCH": 4,
        "SOLVER.BASE_LR": 0.02,
        "SOLVER.WARMUP_ITERS": 5,
        "SEED": 1,
        "OUTPUT_DIR": output,
    }
    settings.update(zip(more[::2], more[1::2], strict=True))
    return [str(each) for pair in settings.items() for each in pair]


def configure(opts: list[str]) -> CfgNode:
    cfg = get_cfg()
    add_panoptic_blend_config(cfg)
    cfg.merge_from_list(opts)
    return cfg


def arguments(*flags: str) -> Any:
    return default_argument_parser().parse_args(["--num-gpus", "0", *flags])


def logged(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.json").read_text().splitlines()]


@pytest.fixture(scope="module")
def run(script: ModuleType, tiny_yaml: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 steps through detectron2's own script logic, evaluated by its evaluator at the end."""
    output = tmp_path_factory.mktemp("run")
    script.main(arguments(*options(tiny_yaml, output, "SOLVER.MAX_ITER", 40)))
    for name in (TRAIN, VAL):
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    return output


def register_shapes(shapes_root: Path) -> None:
    for name, split in ((TRAIN, "train"), (VAL, "val")):
        register_panoptic(name, shapes_root / split, shapes_root / "annotations" / f"panoptic_{split}.json")


def trained(run: Path, tiny_yaml: Path, *more: object) -> CfgNode:
    return configure(options(tiny_yaml, run, "MODEL.WEIGHTS", run / "model_final.pth", *more))


def test_training_lowers_every_loss_and_ends_in_an_evaluation(run):
    first, *_, last = (row for row in logged(run) if "total_loss" in row)
    names = {"loss_fcos_cls", "loss_fcos_loc", "loss_fcos_ctr", "loss_mask", "loss_sem_seg", "loss_basis_sem"}
    assert {name for name in first if name.startswith("loss_")} == names
    assert last["total_loss"] < first["total_loss"]
    assert last["loss_sem_seg"] < first["loss_sem_seg"]
    assert logged(run)[-1]["panoptic_seg/PQ_st"] > 0


def test_resuming_goes_on_where_the_run_stopped(script, run, tiny_yaml, tmp_path):
    for name in ("model_final.pth", "last_checkpoint"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    script.main(arguments("--resume", *options(tiny_yaml, tmp_path, "SOLVER.MAX_ITER", 44, "TEST.EVAL_PERIOD", 0)))
    before = torch.load(run / "model_final.pth", weights_only=False)
    after = torch.load(tmp_path / "model_final.pth", weights_only=False)
    assert (before["iteration"], after["iteration"]) == (39, 43)
    steps = [torch.as_tensor(each["model"]["model.network.fpn.lateral.0.weight"]) for each in (before, after)]
    assert 0 < (steps[1] - steps[0]).abs().max() < 0.1 * steps[0].abs().max()


def test_evaluation_alone_repeats_the_runs_last_evaluation(script, run, tiny_yaml):
    results = script.main(arguments("--eval-only", "--resume", *options(tiny_yaml, run)))
    assert results["panoptic_seg"]["PQ"] == pytest.approx(logged(run)[-1]["panoptic_seg/PQ"])


def test_their_evaluator_and_ours_agree_on_the_same_predictions(script, run, tiny_yaml, shapes_root, tmp_path):
    register_shapes(shapes_root)
    cfg = trained(run, tiny_yaml)
    predictor = DefaultPredictor(cfg)
    evaluator = COCOPanopticEvaluator(VAL, str(tmp_path))
    evaluator.reset()
    kinds = set()
    for inputs in script.Trainer.build_test_loader(cfg, VAL):
        outputs = predictor.model(inputs)
        id_map, segments = outputs[0]["panoptic_seg"]
        write_id_map(tmp_path / "png" / f"{Path(inputs[0]['file_name']).stem}.png", id_map.numpy())
        kinds |= {segment["isthing"] for segment in segments}
        evaluator.process(inputs, outputs)
    assert kinds == {True, False}, "the comparison needs predicted things and stuff"
    theirs = evaluator.evaluate()["panoptic_seg"]
    ours = panoptic_quality(
        shapes_root / "annotations" / "panoptic_val.json",
        tmp_path / "predictions.json",
        predicted_segments=tmp_path / "png",
        workers=1,
    )
    for suffix, group in (("", ours.all), ("_th", ours.things), ("_st", ours.stuff)):
        for name in ("PQ", "SQ", "RQ"):
            assert theirs[name + suffix] == pytest.approx(100 * getattr(group, name.lower()), abs=1e-9)
    assert theirs["PQ"] > 0


@pytest.mark.parametrize("image_format", ["BGR", "RGB"])
def test_the_default_predictor_answers_as_the_model_itself(run, tiny_yaml, shapes_root, image_format):
    register_shapes(shapes_root)
    path = shapes_root / "val" / "val_000000.jpg"
    image = read_image(path)
    # At the image's own size detectron2 does not resample, so that the inputs are equal to the last bit.
    predictor = DefaultPredictor(trained(run, tiny_yaml, "INPUT.MIN_SIZE_TEST", 160, "INPUT.FORMAT", image_format))
    output = predictor(np.ascontiguousarray(image.permute(1, 2, 0).numpy()[:, :, ::-1]))
    (expected,) = predictor.model.model.predict([image])

    id_map, segments = output["panoptic_seg"]
    np.testing.assert_array_equal(id_map.numpy(), expected.id_map)
    assert [(s["id"], s["isthing"], s["area"]) for s in segments] == [
        (s.id, s.is_thing, s.area) for s in expected.segments
    ]
    names = MetadataCatalog.get(VAL)
    categories = predictor.model.model.categories
    for found, segment in zip(segments, expected.segments, strict=True):
        classes = names.thing_classes if found["isthing"] else names.stuff_classes
        assert classes[found["category_id"]] == categories.by_id(segment.category_id).name
    instances = output["instances"]
    assert torch.equal(instances.pred_boxes.tensor, expected.instances.boxes)
    assert torch.equal(instances.pred_masks, expected.instances.masks)
    assert torch.equal(instances.scores, expected.instances.scores)
    assert torch.equal(instances.pred_classes, expected.instances.labels)
    np.testing.assert_array_equal(output["sem_seg"].argmax(0).numpy(), expected.semantic)


def test_predictions_come_at_the_size_asked_for(run, tiny_yaml, shapes_root):
    register_shapes(shapes_root)
    model = DefaultPredictor(trained(run, tiny_yaml)).model
    output = model([{"image": torch.zeros((3, 64, 90), dtype=torch.uint8), "height": 120, "width": 170}])[0]
    assert output["panoptic_seg"][0].shape == (120, 170)
    assert output["instances"].image_size == (120, 170)
    assert output["sem_seg"].shape == (6, 120, 170)


def test_the_visualizer_draws_instances_and_panoptic_maps(run, tiny_yaml, shapes_root):
    pytest.importorskip("cv2", reason="detectron2's visualizer needs opencv-python-headless")
    from detectron2.utils.visualizer import Visualizer

    register_shapes(shapes_root)
    image = read_image(shapes_root / "val" / "val_000000.jpg").permute(1, 2, 0).numpy()
    output = DefaultPredictor(trained(run, tiny_yaml))(np.ascontiguousarray(image[:, :, ::-1]))
    metadata = MetadataCatalog.get(VAL)
    panoptic = Visualizer(image, metadata).draw_panoptic_seg(*output["panoptic_seg"]).get_image()
    instances = Visualizer(image, metadata).draw_instance_predictions(output["instances"]).get_image()
    semantic = Visualizer(image, metadata).draw_sem_seg(output["sem_seg"].argmax(0)).get_image()
    for drawn in (panoptic, instances, semantic):
        assert drawn.shape == image.shape
        assert (drawn != image).any()


def in_their_labels(semantic: torch.Tensor) -> torch.Tensor:
    return torch.where(semantic == IGNORE, 255, semantic)


def register_split(shapes_root: Path, root: Path) -> None:
    """The training images once more, as the separated files that detectron2's Panoptic FPN takes."""
    truth = PanopticAnnotations.load(shapes_root / "annotations" / "panoptic_train.json")
    images, annotations = [], []
    (root / "semantic").mkdir()
    for record in truth:
        id_map = read_segments(record, truth.default_segments_folder, truth.categories, "truth")
        semantic = in_their_labels(derive_targets(id_map, record.segments, truth.categories).semantic)
        Image.fromarray(semantic.numpy().astype(np.uint8)).save(
            root / "semantic" / f"{Path(record.file_name).stem}.png"
        )
        images.append(
            {"id": record.image_id, "file_name": record.file_name, "width": record.width, "height": record.height}
        )
        for segment in sorted(record.segments, key=lambda segment: segment.id):
            if not truth.categories.by_id(segment.category_id).is_thing:
                continue
            rle = coco_mask.encode(np.asfortranarray(id_map == segment.id, dtype=np.uint8))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": record.image_id,
                    "category_id": segment.category_id,
                    "iscrowd": int(segment.is_crowd),
                    "area": segment.area,
                    "bbox": segment.bbox,
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                }
            )
    things = [c for c in truth.categories.to_json() if c["isthing"]]
    content = {"info": {}, "images": images, "annotations": annotations, "categories": things}
    (root / "instances.json").write_text(json.dumps(content))
    metadata = panoptic_metadata(truth.categories)
    # The names and ids of things are set again when the instances are read.
    register_coco_panoptic_separated(
        "split",
        metadata,
        str(shapes_root / "train"),
        str(truth.default_segments_folder),
        str(truth.path),
        str(root / "semantic"),
        str(root / "instances.json"),
    )


def register_plain(shapes_root: Path) -> PanopticAnnotations:
    truth = PanopticAnnotations.load(shapes_root / "annotations" / "panoptic_train.json")
    folders = str(shapes_root / "train"), str(truth.default_segments_folder)
    register_coco_panoptic("plain", panoptic_metadata(truth.categories), *folders, str(truth.path))
    return truth


def test_both_layouts_give_the_targets_of_the_id_map(tiny_yaml, shapes_root, tmp_path):
    register_split(shapes_root, tmp_path)
    truth = register_plain(shapes_root)
    unvaried = ("INPUT.MIN_SIZE_TRAIN", "(160,)", "INPUT.RANDOM_FLIP", "none", "INPUT.MASK_FORMAT", "bitmask")
    for name, mapper in (("plain", PanopticMapper), ("split_separated", DatasetMapper)):
        cfg = configure(options(tiny_yaml, tmp_path, "DATASETS.TRAIN", f"('{name}',)", *unvaried))
        samples = list(map(mapper(cfg), DatasetCatalog.get(name)))
        assert len(samples) == len(truth)
        for sample, record in zip(samples, truth, strict=True):
            id_map = read_segments(record, truth.default_segments_folder, truth.categories, "truth")
            targets = derive_targets(id_map, record.segments, truth.categories)
            assert sample["file_name"].endswith(record.file_name)
            assert (sample["height"], sample["width"]) == (record.height, record.width)
            assert torch.equal(sample["image"].flip(0), read_image(shapes_root / "train" / record.file_name))
            assert torch.equal(sample["sem_seg"], in_their_labels(targets.semantic))
            assert torch.equal(sample["instances"].gt_classes, targets.labels)
            assert torch.equal(sample["instances"].gt_masks.tensor.bool(), targets.masks)
            torch.testing.assert_close(sample["instances"].gt_boxes.tensor.float(), targets.boxes)


def test_crowds_are_ignored_and_file_names_may_be_anything(tiny_yaml, tmp_path):
    truth = PanopticAnnotations.load(write_small(tmp_path))
    for record in truth:
        (tmp_path / record.file_name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (record.width, record.height)).save(tmp_path / record.file_name)
    register_panoptic(TRAIN, tmp_path, truth.path)
    cfg = configure(options(tiny_yaml, tmp_path, "INPUT.MIN_SIZE_TRAIN", "(4,)", "INPUT.RANDOM_FLIP", "none"))
    samples = list(map(PanopticMapper(cfg), DatasetCatalog.get(TRAIN)))
    assert [sample["image_id"] for sample in samples] == [11, 12]
    for sample, record in zip(samples, truth, strict=True):
        assert any(segment.is_crowd for segment in record.segments)
        targets = derive_targets(small_id_map(), record.segments, truth.categories)
        assert torch.equal(sample["sem_seg"], in_their_labels(targets.semantic))
        assert torch.equal(sample["instances"].gt_masks.tensor, targets.masks)


def test_training_gives_the_losses_of_the_model_itself(tiny_yaml, shapes_root, tmp_path):
    truth = register_plain(shapes_root)
    unvaried = ("INPUT.MIN_SIZE_TRAIN", "(160,)", "INPUT.RANDOM_FLIP", "none")
    cfg = configure(options(tiny_yaml, tmp_path, "DATASETS.TRAIN", "('plain',)", *unvaried))
    model = build_model(cfg).train()
    images, targets = [], []
    for record in truth:
        id_map = read_segments(record, truth.default_segments_folder, truth.categories, "truth")
        images.append(read_image(shapes_root / "train" / record.file_name))
        targets.append(derive_targets(id_map, record.segments, truth.categories))
    expected = model.model(images, targets)
    losses = model(list(map(PanopticMapper(cfg), DatasetCatalog.get("plain"))))
    assert losses.keys() == expected.keys()
    for name, loss in losses.items():
        assert loss.item() == expected[name].item()


def test_varied_samples_of_the_plain_layout_hold_together(tiny_yaml, shapes_root, tmp_path):
    register_plain(shapes_root)
    crop = ("INPUT.CROP.ENABLED", True, "INPUT.CROP.SIZE", "[0.4, 0.4]")
    mapper = PanopticMapper(configure(options(tiny_yaml, tmp_path, "DATASETS.TRAIN", "('plain',)", *crop)))
    for row in DatasetCatalog.get("plain"):
        sample = mapper(row)
        height, width = sample["image"].shape[1:]
        assert min(height, width) == 64
        assert sample["sem_seg"].shape == (height, width)
        masks = sample["instances"].gt_masks.tensor
        assert masks.flatten(1).any(dim=1).all()
        assert (sample["sem_seg"][masks.any(dim=0)] == 0).all()
        assert torch.equal(
            sample["instances"].gt_masks.get_bounding_boxes().tensor, sample["instances"].gt_boxes.tensor
        )


@pytest.mark.parametrize("count", [254, 255, 256])
def test_padding_is_void_however_many_segments_there_are(count, tmp_path):
    categories = Categories([Category(7, "seed", True, (1, 2, 3))])
    id_map = np.minimum(np.arange(16 * 20), count - 1).reshape(16, 20).astype(np.int32) + 1
    write_id_map(tmp_path / "seeds.png", id_map)
    Image.new("RGB", (20, 16)).save(tmp_path / "seeds.jpg")
    ids = ContiguousIds(categories, {7: 0}, {})
    mapper = PanopticMapper(ids=ids, augmentations=[FixedSizeCrop((24, 30))], image_format="RGB")
    rows = [{"id": each + 1, "category_id": 0, "isthing": True} for each in range(count)]
    names = {"file_name": str(tmp_path / "seeds.jpg"), "pan_seg_file_name": str(tmp_path / "seeds.png")}
    sample = mapper({**names, "width": 20, "height": 16, "segments_info": rows})
    expected = np.stack([id_map == each + 1 for each in range(count)])
    assert np.array_equal(sample["instances"].gt_masks.tensor[:, :16, :20], expected)
    assert sample["instances"].gt_masks.tensor.sum() == 16 * 20
    assert (sample["sem_seg"][16:] == 255).all()


def test_the_separated_layout_trains_and_is_scored_by_all_three_evaluators(
    script, run, tiny_yaml, shapes_root, tmp_path
):
    register_split(shapes_root, tmp_path)
    names = "DATASETS.TRAIN", "('split_separated',)", "DATASETS.TEST", "('split_separated',)"
    more = "SOLVER.MAX_ITER", 2, "INPUT.MASK_FORMAT", "bitmask", "MODEL.WEIGHTS", run / "model_final.pth"
    script.main(arguments(*options(tiny_yaml, tmp_path / "run", *names, *more)))
    *_, results = logged(tmp_path / "run")
    assert {"panoptic_seg/PQ", "sem_seg/mIoU", "bbox/AP", "segm/AP"} <= results.keys()
    assert results["sem_seg/mIoU"] > 0


def test_polygons_give_the_losses_of_their_masks(tiny_yaml, shapes_root, tmp_path):
    register_shapes(shapes_root)
    cfg = configure(options(tiny_yaml, tmp_path))
    model = build_model(cfg).train()
    sample = PanopticMapper(cfg)(DatasetCatalog.get(TRAIN)[0])
    size = sample["instances"].image_size
    polygons = PolygonMasks([[np.array([8.0, 8, 40, 8, 40, 40, 8, 40])]])
    losses = []
    for masks in (polygons, BitMasks.from_polygon_masks(polygons, *size)):
        boxes = Boxes(torch.tensor([[8.0, 8, 40, 40]]))
        truth = Instances(size, gt_boxes=boxes, gt_classes=torch.tensor([2]), gt_masks=masks)
        losses.append(model([{**sample, "instances": truth}]))
    for name, loss in losses[0].items():
        assert loss.item() == losses[1][name].item()


def test_ids_that_do_not_start_at_0_train_and_predict_the_same(tiny_yaml, shapes_root, tmp_path):
    truth = register_plain(shapes_root)
    dense = configure(options(tiny_yaml, tmp_path, "DATASETS.TRAIN", "('plain',)", "INPUT.RANDOM_FLIP", "none"))
    models, samples = [build_model(dense)], [PanopticMapper(dense)(DatasetCatalog.get("plain")[0])]
    DatasetCatalog.remove("plain")
    MetadataCatalog.remove("plain")

    # One range for all, stuff first, as detectron2 has it for Cityscapes.
    order = [*truth.categories.stuff, *truth.categories.things]
    names = [category.name for category in order]
    ids = {True: {}, False: {}}
    for contiguous, category in enumerate(order):
        ids[category.is_thing][category.id] = contiguous
    metadata = {
        "thing_classes": names,
        "stuff_classes": names,
        "thing_dataset_id_to_contiguous_id": ids[True],
        "stuff_dataset_id_to_contiguous_id": ids[False],
    }
    folders = str(shapes_root / "train"), str(truth.default_segments_folder)
    register_coco_panoptic("plain", metadata, *folders, str(truth.path))
    models.append(build_model(dense))
    samples.append(PanopticMapper(dense)(DatasetCatalog.get("plain")[0]))
    models[1].load_state_dict(models[0].state_dict())

    assert torch.equal(
        samples[0]["instances"].gt_classes + len(truth.categories.stuff), samples[1]["instances"].gt_classes
    )
    losses = [model.train()([sample]) for model, sample in zip(models, samples, strict=True)]
    for name, loss in losses[0].items():
        assert loss.item() == losses[1][name].item()
    for model in models:
        model.model.settings.score_threshold = 0.0  # an untrained model's detections are faint
    outputs = [model.eval()([sample])[0] for model, sample in zip(models, samples, strict=True)]
    classes = [output["instances"].pred_classes for output in outputs]
    assert len(classes[0]) > 0
    assert torch.equal(classes[0] + len(truth.categories.stuff), classes[1])


def test_an_image_without_things_trains(tiny_yaml, shapes_root, tmp_path):
    register_shapes(shapes_root)
    model = build_model(configure(options(tiny_yaml, tmp_path))).train()
    empty = Instances((64, 90), gt_boxes=Boxes(torch.zeros((0, 4))), gt_classes=torch.zeros(0, dtype=torch.int64))
    image = torch.zeros((3, 64, 90), dtype=torch.uint8)
    losses = model([{"image": image, "instances": empty, "sem_seg": torch.ones((64, 90), dtype=torch.int64)}])
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_stuff_alone_trains_and_predicts(tiny_yaml, shapes_root, tmp_path):
    register_shapes(relabel_as_stuff(shapes_root, tmp_path / "data"))
    cfg = configure(options(tiny_yaml, tmp_path))
    model = build_model(cfg).train()
    samples = list(map(PanopticMapper(cfg), DatasetCatalog.get(TRAIN)))
    assert samples[0]["instances"].gt_classes.dtype == torch.int64
    assert model(samples).keys() == {"loss_sem_seg"}
    (output,) = model.eval()(samples[:1])
    assert len(output["instances"]) == 0
    assert output["instances"].pred_classes.dtype == torch.int64
    assert not any(segment["isthing"] for segment in output["panoptic_seg"][1])


def test_a_model_leaves_and_enters_detectron2_as_our_checkpoint(run, tiny_yaml, shapes_root, tmp_path):
    register_shapes(shapes_root)
    image = torch.randint(0, 256, (3, 64, 90), dtype=torch.uint8)
    before = DefaultPredictor(trained(run, tiny_yaml)).model
    save_model(before.model, tmp_path / "model.safetensors")
    cfg = configure(options(tiny_yaml, tmp_path))
    cfg.MODEL.PANOPTIC_BLEND.CONFIG, cfg.MODEL.PANOPTIC_BLEND.CHECKPOINT = "", str(tmp_path / "model.safetensors")
    after = build_model(cfg).eval()
    maps = [model([{"image": image}])[0]["panoptic_seg"][0] for model in (before, after)]
    assert torch.equal(*maps)

    cfg.MODEL.PANOPTIC_BLEND.CONFIG = str(tiny_yaml)
    with pytest.raises(ConfigError, match="leave CONFIG, SETTINGS and INIT_FROM empty"):
        build_model(cfg)
    cfg.MODEL.PANOPTIC_BLEND.CONFIG = ""
    cfg.DATASETS.TRAIN = ("coco_2017_train_panoptic",)
    with pytest.raises(ConfigError, match=r"model\.safetensors: its categories are not those .*'person' \(thing\) in"):
        build_model(cfg)


def test_a_checkpoint_does_not_enter_for_categories_in_another_order(tiny_yaml, shapes_root, tmp_path):
    register_shapes(shapes_root)
    cfg = configure(options(tiny_yaml, tmp_path))
    categories = PanopticAnnotations.load(shapes_root / "annotations" / "panoptic_train.json").categories
    save_model(build_model_of_ours(tiny_model_config(), Categories(categories[::-1])), tmp_path / "model.safetensors")
    cfg.MODEL.PANOPTIC_BLEND.CONFIG, cfg.MODEL.PANOPTIC_BLEND.CHECKPOINT = "", str(tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match="predicts category ids in the order"):
        build_model(cfg)


def test_weights_of_any_kind_start_the_network(run, tiny_yaml, shapes_root, tmp_path):
    register_shapes(shapes_root)
    before = DefaultPredictor(trained(run, tiny_yaml)).model.model
    save_model(before, tmp_path / "model.safetensors")
    opts = options(tiny_yaml, tmp_path, "MODEL.PANOPTIC_BLEND.INIT_FROM", tmp_path / "model.safetensors")
    after = build_model(configure(opts)).model
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, after.state_dict()[name]), name


@pytest.mark.parametrize("name", ["coco_2017_val_panoptic", "coco_2017_val_panoptic_separated"])
def test_cocos_own_metadata_gives_its_categories(tiny_yaml, tmp_path, name):
    opts = options(tiny_yaml, tmp_path, "DATASETS.TRAIN", "()", "DATASETS.TEST", f"('{name}',)")
    model = build_model(configure(opts)).eval()
    assert (len(model.model.categories.things), len(model.model.categories.stuff)) == (80, 53)
    assert model.model.categories.by_id(200).name.startswith("rug")
    # Back through the inverse maps that COCOPanopticEvaluator takes.
    metadata = MetadataCatalog.get(name)
    for category in model.model.categories:
        kind = "thing" if category.is_thing else "stuff"
        back = {v: k for k, v in metadata.get(f"{kind}_dataset_id_to_contiguous_id").items()}
        assert back[model.ids.contiguous(category.id, category.is_thing)] == category.id


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("DATASETS.TRAIN", "('nowhere',)"), r"data set 'nowhere': detectron2's metadata lacks"),
        (("DATASETS.TRAIN", "()", "DATASETS.TEST", "()"), r"DATASETS\.TRAIN and DATASETS\.TEST are empty"),
        (("INPUT.FORMAT", "L"), r"INPUT\.FORMAT is 'L'"),
        (("MODEL.WEIGHTS", "detectron2://ImageNetPretrained/MSRA/R-50.pkl"), r"MODEL\.PANOPTIC_BLEND\.INIT_FROM"),
        (("MODEL.PANOPTIC_BLEND.SETTINGS", "['model.fcos.num_conv=2']"), r"num_conv.*Did you mean.*num_convs"),
    ],
)
def test_settings_that_cannot_work_are_explained(tiny_yaml, shapes_root, tmp_path, more, message):
    register_shapes(shapes_root)
    with pytest.raises((ConfigError, DatasetError), match=message):
        build_model(configure(options(tiny_yaml, tmp_path, *more)))


@pytest.mark.parametrize(
    ("lacking", "message"), [("instances", "has no instances with masks"), ("sem_seg", "has no semantic map")]
)
def test_samples_that_lack_something_are_explained(tiny_yaml, shapes_root, tmp_path, lacking, message):
    register_shapes(shapes_root)
    cfg = configure(options(tiny_yaml, tmp_path))
    sample = PanopticMapper(cfg)(DatasetCatalog.get(TRAIN)[0])
    del sample[lacking]
    with pytest.raises(DatasetError, match=rf"train_000000\.jpg: {message}"):
        build_model(cfg).train()([sample])
