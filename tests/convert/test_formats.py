from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from panoptic_blend.convert.formats import FORMATS, recognise_format
from panoptic_blend.convert.options import FormatOptions


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("ade20k", "ade20k2017_dataset/dataset"),
        ("ade20k", "ade20k2020_dataset/dataset"),
        ("cityscapes", "cityscapes_dataset/dataset"),
        ("cityscapes", "cityscapes_dataset/train_dataset"),
        ("coco-instances", "coco_dataset/coco_instances/annotations/instances_val.json"),
        ("coco-instances", "coco_dataset/coco_stuff/annotations/stuff_train.json"),
        ("cvat", "cvat_dataset/for_images/export_project"),
        ("label-maps", "camvid_dataset"),
        ("labelme", "labelme_dataset"),
        ("mapillary", "mapillary_vistas_dataset"),
        ("mapillary", "mapillary_vistas_dataset/val/v2.0/panoptic/panoptic_2020.json"),
        ("mots", "mots_dataset"),
        ("roboflow", "coco_dataset/coco_roboflow"),
        ("synthia", "synthia_dataset/rand"),
        ("synthia", "synthia_dataset/sf"),
        ("synthia", "synthia_dataset/al"),
        ("voc", "voc_dataset/voc_dataset1"),
    ],
)
def test_a_data_set_looks_like_one_format_and_can_be_sent_to_processes(name: str, source: str, shared: Path):
    path = shared / "fixtures" / "datumaro" / source
    assert recognise_format(path) == name
    if not path.is_file():  # whose boxes are empty
        colors = shared / "fixtures" / "datumaro" / "synthia_dataset" / "rand_custom_labelmap" / "label_colors.txt"
        options = FormatOptions(labels=colors if name == "label-maps" else None)
        opened = FORMATS[name].open_source(path, options)
        assert pickle.loads(pickle.dumps(opened)).images == opened.images
