"""Whatever is wrong with a file: a conversion either takes it, or says a sentence and leaves nothing."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from panoptic_blend.cli import main
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.convert.formats import TARGETS
from tests.convert.scenes import convert_dataset

TEXTS = (".json", ".xml", ".txt", ".yaml")
_VALUE = re.compile(rb'-?\d+(\.\d+)?|"[^"]*"|\[|\{|true|null')


def cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def spoil_bytes(content: bytes, chance: random.Random) -> bytes:
    spoilt = bytearray(content)
    for _ in range(chance.randint(1, 4) if content else 0):
        spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
    return bytes(spoilt)


def spoil_a_value(content: bytes, chance: random.Random) -> bytes:
    """Another value for one in a text file."""
    found = list(_VALUE.finditer(content))
    other = chance.choice([b"null", b'"x"', b"-1", b"[]", b"{}", b"1e999", b"9" * 20, b"true", b"0.5", b"", b"NaN"])
    match = chance.choice(found) if found else None
    return other if match is None else content[: match.start()] + other + content[match.end() :]


DAMAGES: list[Callable[[bytes, random.Random], bytes] | None] = [
    cut,
    spoil_bytes,
    spoil_a_value,
    lambda content, _: b"",
    lambda content, _: content * 2,
    None,  # the file is gone
]


def damage_and_convert(source: Path, file: str, options: list[str], chance: random.Random, root: Path, capsys) -> None:
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(source, root / "source")
    files = sorted(path for path in (root / "source").rglob("*") if path.is_file())
    texts = [path for path in files if path.suffix in TEXTS]
    path = chance.choice(texts if texts and chance.random() < 0.5 else files)
    damage = chance.choice(DAMAGES)
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes(), chance))
    code = convert_dataset(root / "source" / file, root / "out", *(o.format(root / "source") for o in options))
    error = capsys.readouterr().err.strip()
    what = f"{path}, {damage and damage.__name__}: {error}"
    assert code in (0, 1, 2), what
    assert "Unexpected" not in error, what
    assert len(error.splitlines()) == (code != 0), what
    assert sorted(each.name for each in root.iterdir()) == (["source"] if code else ["out", "source"]), what


FIXTURES = {
    "ade20k2017_dataset/dataset": "",
    "ade20k2020_dataset/dataset": "",
    "cityscapes_dataset/dataset": "",
    "coco_dataset/coco_instances": "annotations/instances_val.json",
    "coco_dataset/coco_roboflow": "",
    "coco_dataset/coco_stuff": "annotations/stuff_train.json",
    "cvat_dataset/for_images/export_project": "",
    "labelme_dataset": "",
    "mapillary_vistas_dataset": "",
    "mots_dataset": "",
    "synthia_dataset/al": "",
    "synthia_dataset/rand": "",
    "voc_dataset/voc_dataset1": "",
}


@pytest.fixture(params=[2, pytest.param(100, marks=pytest.mark.slow)])
def times(request: pytest.FixtureRequest) -> int:
    """How often something else is broken."""
    return request.param


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", FIXTURES)
def test_damaged_data_sets(name: str, times: int, shared: Path, tmp_path: Path, capsys):
    source = shared / "fixtures" / "datumaro" / name
    chance = random.Random(f"{name} {times}")
    for _ in range(times):
        damage_and_convert(source, FIXTURES[name], [], chance, tmp_path / "work", capsys)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", TARGETS)
def test_damaged_results_of_our_own(name: str, times: int, shapes: Path, tmp_path: Path, capsys):
    annotations = shapes / "annotations" / "panoptic_val.json"
    options = ["--images", str(shapes / "val"), "--output", str(tmp_path / "made")]
    assert main(["convert-dataset", str(annotations), "--to", name, *options]) == 0
    capsys.readouterr()
    things = ",".join(each.name for each in PanopticAnnotations.load(annotations).categories.things)
    options = ["--labels", "{}/names.txt", "--things", things] if name == "label-maps" else []
    file = "annotations/instances_val.json" if name == "coco-instances" else ""
    chance = random.Random(f"{name} {times}")
    for _ in range(times):
        damage_and_convert(tmp_path / "made", file, options, chance, tmp_path / "work", capsys)


@pytest.mark.parametrize("damage", [each for each in DAMAGES if each is not None])
def test_the_damages_do_damage(damage: Callable[[bytes, random.Random], bytes]):
    chance, content = random.Random(0), b'{"a": [1, 2]}'
    assert any(damage(content, chance) != content for _ in range(5))
