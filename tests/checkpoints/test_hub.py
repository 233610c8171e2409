"""Models on the hub: pushed with a card, loaded by name and revision, and every refusal in a sentence."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

import panoptic_blend as pb
from panoptic_blend.catalogue import cache
from panoptic_blend.categories import Categories, Category
from panoptic_blend.checkpoints import initialise
from panoptic_blend.checkpoints.hub import write_hub_folder
from panoptic_blend.config import Config
from panoptic_blend.config_files import write_config
from panoptic_blend.errors import CheckpointError, ConfigError, DownloadError
from panoptic_blend.modeling.build import build_model
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from tests.checkpoints.fake_hub import FakeHub, serve_hub
from tests.files.server import closed_address
from tests.tiny import tiny_model_config

METRICS = {
    "PQ": 61.25, "SQ": 80.0, "RQ": 75.0, "PQ_th": 41.0, "SQ_th": 71.0, "RQ_th": 57.0, "PQ_st": 72.0, "SQ_st": 73.0,
    "RQ_st": 84.0, "N": 2, "per_class": {"a | b": {"PQ": 41.0, "SQ": 71.0, "RQ": 57.0, "tp": 1, "fp": 2, "fn": 3}},
    "mask_ap": {"AP": 21.5}, "semantic": {"mIoU": 64.84},
}  # fmt: skip


@pytest.fixture(scope="module")
def model() -> PanopticBlend:
    torch.manual_seed(0)
    categories = [Category(7, "a | b", True, (9, 8, 7)), Category(9, "<b>road</b>", False, (0, 0, 0))]
    return build_model(tiny_model_config(), Categories(categories)).eval()


@pytest.fixture
def run(model: PanopticBlend, tmp_path: Path) -> Path:
    """A run's folder as training leaves it."""
    folder = tmp_path / "runs" / "streets"
    folder.mkdir(parents=True)
    pb.save(model, folder / "best.safetensors")
    config = Config()
    config.data.root, config.trainer.max_steps, config.trainer.batch_size = "/home/ada/secret/streets", 1800, 4
    write_config(config, folder / "config.yaml")
    return folder


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    """A folder as `evaluate --overlays` leaves it."""
    folder = tmp_path / "evaluated"
    (folder / "overlays" / "cam").mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    for number in range(6):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / "overlays" / "cam" / f"patient {number}.jpg")
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    monkeypatch.setenv(cache.OFFLINE, "")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with serve_hub() as running:
        point_at(running.url, monkeypatch)
        yield running


def point_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    )


def assert_same(found: object, expected: PanopticBlend) -> None:
    assert isinstance(found, PanopticBlend)
    assert found.categories == expected.categories
    for name, tensor in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name


def test_a_run_goes_to_the_hub_and_comes_back(
    hub: FakeHub, model: PanopticBlend, run: Path, evaluation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = pb.push_to_hub(run, "me/streets", licence="apache-2.0", evaluation=evaluation, private=True)
    assert url == f"{hub.url}/me/streets"
    assert hub.tokens == {"Bearer hf_of_a_test"}
    assert hub.created[0]["name"] == "streets"
    assert hub.created[0].get("private") is True or hub.created[0].get("visibility") == "private"
    names = {name for _, _, name in hub.files}
    assert names == {"model.safetensors", "README.md", *(f"pictures/{n}.jpg" for n in range(1, 5))}
    assert_same(pb.load("hf:me/streets"), model)

    for name in names:
        hub.files["me/streets", "v1", name] = hub.files["me/streets", "main", name]
    assert_same(pb.load("hf:me/streets@v1"), model)
    other = build_model(tiny_model_config(), model.categories)
    assert initialise(other, "hf:me/streets@v1").new_categories == []
    monkeypatch.setenv(cache.OFFLINE, "1")
    assert_same(pb.load("hf:me/streets"), model)


def test_a_model_in_memory_is_pushed_with_a_card_that_claims_nothing(hub: FakeHub, model: PanopticBlend) -> None:
    pb.push_to_hub(model, "me/model")
    card = hub.files["me/model", "main", "README.md"].decode()
    assert "Its owner has not stated one" in card
    assert "Trained on" not in card
    assert "How good" not in card
    assert "license" not in yaml.safe_load(card.split("---")[1])


def test_the_card_is_written_from_the_run(model: PanopticBlend, run: Path, evaluation: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write_hub_folder(run, folder, "me/streets", "cc-by-4.0", evaluation)
    assert_same(pb.load(folder), model)  # as after `git clone`
    card = (folder / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "cc-by-4.0"
    assert head["library_name"] == "panoptic-blend"
    assert head["pipeline_tag"] == "image-segmentation"
    assert 'pb.load("hf:me/streets")' in card
    assert "The data set streets (panoptic\\_train.json), up to 1,800 steps of 4 images" in card
    assert "| **all** | 61.2 | 80.0 | 75.0 |" in card
    assert "| a \\| b | 41.0 | 71.0 | 57.0 |" in card
    assert "mask AP 21.5, mIoU 64.8" in card
    assert "\\<b\\>road" in card
    for picture in re.findall(r"!\[\]\((.*)\)", card):
        assert (folder / picture).is_file()
    for private in ("secret", "ada", "patient", str(tmp_path)):
        assert private not in card
    assert [path for path in folder.rglob("*") if "patient" in path.name] == []


def test_a_folder_that_evaluate_did_not_write_is_named(model: PanopticBlend, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no metrics\.json.*Name a folder that `evaluate` wrote"):
        write_hub_folder(model, tmp_path, "me/model", evaluation=tmp_path)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("hf:you/nothing", "hf:you/nothing: the hub has no such model, or does not show it to you"),
        ("hf:me/model@v9", "hf:me/model@v9: the model has no such revision"),
        ("hf:me/foreign", "hf:me/foreign: holds no model.safetensors"),
        ("hf:model", "hf:model: write hf:OWNER/MODEL"),
        ("hf:me/model@", "hf:me/model@: write hf:OWNER/MODEL"),
        ("hf:../../etc/passwd", "write hf:OWNER/MODEL"),
    ],
)
def test_what_the_hub_does_not_have_is_told(hub: FakeHub, reference: str, words: str) -> None:
    hub.files["me/model", "main", "model.safetensors"] = b"damaged"
    hub.files["me/foreign", "main", "pytorch_model.bin"] = b"pickle"
    with pytest.raises((CheckpointError, DownloadError)) as failure:
        pb.load(reference)
    assert words in str(failure.value)


def test_a_damaged_model_is_refused(hub: FakeHub) -> None:
    hub.files["me/model", "main", "model.safetensors"] = b"damaged"
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        pb.load("hf:me/model")


def test_without_a_network_or_permission_the_hub_is_not_reached(
    hub: FakeHub, model: PanopticBlend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cache.OFFLINE, "1")
    with pytest.raises(DownloadError, match="is not on this machine, and working offline forbids"):
        pb.load("hf:me/model")
    monkeypatch.setenv(cache.OFFLINE, "")
    point_at(closed_address(), monkeypatch)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between the client's attempts
    with pytest.raises(DownloadError, match="hf:me/model: is not on this machine, and the hub cannot be reached"):
        pb.load("hf:me/model")
    with pytest.raises(DownloadError, match=r"me/model: the hub said: .*[Cc]onnect"):
        pb.push_to_hub(model, "me/model")


def test_names_that_the_hub_cannot_have_are_refused(model: PanopticBlend) -> None:
    pytest.importorskip("huggingface_hub")
    with pytest.raises(ConfigError, match=r"'model' is no repository's name on the hub\. Write OWNER/MODEL"):
        pb.push_to_hub(model, "model")


def test_without_the_extra_it_is_said_what_to_install(model: PanopticBlend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for use in (lambda: pb.load("hf:me/model"), lambda: pb.push_to_hub(model, "me/model")):
        with pytest.raises(ConfigError, match=r"pip install 'panoptic-blend\[hub\]'"):
            use()
