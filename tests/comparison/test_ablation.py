from __future__ import annotations

from pathlib import Path

import pytest
import torch

from panoptic_blend.categories import Categories
from panoptic_blend.comparison.ablation import read_ablation
from panoptic_blend.config.plain import plain_settings
from panoptic_blend.errors import ConfigError
from panoptic_blend.modeling.build import build_model

SHIPPED = sorted((Path(__file__).resolve().parents[2] / "configs" / "ablations").glob("*.yaml"))
NAMES = (("ball", 1), ("box", 1), ("sky", 0))
CATEGORIES = Categories.from_json([{"id": i, "name": n, "isthing": t} for i, (n, t) in enumerate(NAMES, start=1)])


def write(folder: Path, text: str) -> Path:
    path = folder / "widths.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("file", SHIPPED, ids=lambda path: path.stem)
def test_shipped_variants_differ_in_their_models_alone_and_can_be_built(file: Path) -> None:
    variants = read_ablation(file).variants
    assert len(variants) > 1
    settings = [plain_settings(config) for config in variants.values()]
    models = [each.pop("model") for each in settings]
    assert all(each == settings[0] for each in settings)
    assert all(models.count(model) == 1 for model in models)
    for config in variants.values():
        with torch.device("meta"):
            build_model(config.model, CATEGORIES)


def test_variants_change_the_base_and_overrides_win_over_both(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("trainer: {max_steps: 7, batch_size: 3}\ndata: {flip: 0.25}\n")
    text = "variants:\n  plain:\n  sized: {trainer: {batch_size: 2}, data: {shortest_edge: [32, 64], flip: 0.0}}\n"
    ablation = read_ablation(
        write(tmp_path, f"title: Two\nbase: {tmp_path / 'base.yaml'}\n{text}"), overrides=["--data.flip", "1.0"]
    )
    assert (ablation.name, ablation.title, list(ablation.variants)) == ("widths", "Two", ["plain", "sized"])
    plain, sized = ablation.variants.values()
    assert (plain.trainer.max_steps, plain.trainer.batch_size, plain.data.flip) == (7, 3, 1.0)
    assert (sized.trainer.max_steps, sized.trainer.batch_size, sized.data.flip) == (7, 2, 1.0)
    assert sized.data.shortest_edge == (32, 64)


def test_another_base_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("trainer: {max_steps: 11}\n")
    ablation = read_ablation(write(tmp_path, "base: missing.yaml\nvariants: {a: {}}\n"), base=tmp_path / "other.yaml")
    assert ablation.variants["a"].trainer.max_steps == 11


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("variants: {a: {}}", "has no 'base'"),
        ("base: shapes/r18.yaml\nvariants: {}", "has no variants"),
        ("base: shapes/r18.yaml\nvariants: {a: 3}", "'a' holds no settings"),
        ("base: shapes/r18.yaml\nvariants: {a: {trainer: {max_step: 3}}}", r"'a'.*max_step.*mean.*max_steps"),
        ("base: shapes/r18.yaml\nvariants: {a: {trainer: {max_steps: -3}}}", r"'a': trainer\.max_steps"),
        ("base: shapes/r18.yaml\nvariants: {a: {model: {masks: {head: null}}}}", r"'a': model\.masks\.head is 'None'"),
        ("base: shapes/r18.yaml\nvariants: {a: {trainer: {seed: 2020-01-02}}}", r"'a': trainer\.seed is '2020-01-02'"),
        ("base: [shapes/r18.yaml]\nvariants: {a: {}}", "has no 'base'"),
        ("trainer: {max_steps: 3}", "is not an ablation"),
        ("base: [", "is not valid YAML"),
    ],
)
def test_mistakes_are_told_with_the_file_and_the_variant(tmp_path: Path, text: str, answer: str) -> None:
    with pytest.raises(ConfigError, match=answer) as caught:
        read_ablation(write(tmp_path, text))
    assert "widths.yaml" in str(caught.value)
