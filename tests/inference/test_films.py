"""Films are read frame by frame, predicted frame by frame, and what is wrong with them is said in a sentence."""

from __future__ import annotations

import builtins
import json
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from panoptic_blend.checkpoints.native import save_model
from panoptic_blend.cli import main
from panoptic_blend.errors import ConfigError, DatasetError
from panoptic_blend.inference.film_writing import FilmWriter, write_film
from panoptic_blend.inference.films import Film, is_film
from panoptic_blend.inference.keeping import WritingResult
from panoptic_blend.inference.prediction import Prediction
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.modeling.build import build_model
from panoptic_blend.structures import PanopticMap, Segment
from panoptic_blend.synthetic.scene import SHAPES
from tests.tiny import talkative_model_config

from .moving_shapes import moving_shapes

av = pytest.importorskip("av")
QUIET = Console(quiet=True)
FRAMES = 6


def write(path: Path, count: int, codec: str = "libx264", size: tuple[int, int] = (48, 64), **options: Any) -> Path:
    """A film whose frame i is grey, 30 + 20 i."""
    container = av.open(str(path), "w", **options)
    stream = container.add_stream(codec, rate=25)
    stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
    for i in range(count):
        frame = av.VideoFrame.from_ndarray(np.full((*size, 3), 30 + 20 * i, np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
    container.mux(stream.encode())
    container.close()
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames of moving shapes, of odd sides that the encoder made even."""
    path = tmp_path_factory.mktemp("film") / "street.mp4"
    with FilmWriter(path, Fraction(10)) as writer:
        for scene in moving_shapes(0, FRAMES):
            writer.add(scene.image[::2, ::2][:-1, :-1])
    return path


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    return Predictor(build_model(talkative_model_config(), SHAPES), "cpu", "fp32")


def predict(predictor: Predictor, film: Path, output: Path, **options: Any) -> WritingResult:
    return write_film(predictor, Film(str(film)), output, QUIET, track=True, **options)


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the journal, which says when frames were written, and the encoded film."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".jsonl", ".mp4")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "mpeg4"), ("a.avi", "mpeg4")])
def test_every_frame_is_read_once_and_in_order(tmp_path: Path, name: str, codec: str):
    film = Film(str(write(tmp_path / name, 9, codec)))
    assert (len(film), film.rate) == (9, 25)
    seen = [film[index] for index in range(9)]
    assert [round((each.image.mean() - 30) / 20) for each in seen] == list(range(9))
    assert [each.record.frame_id for each in seen] == list(range(9))
    assert seen[4].record.file_name == film.locate(4).file_name == "a/000004.png"
    assert seen[4].record.video_id == "a"
    assert round((film[2].image.mean() - 30) / 20) == 2  # from the start again
    assert round((film[7].image.mean() - 30) / 20) == 7
    assert len(Film(str(tmp_path / name), frames=4)) == 4
    with pytest.raises(DatasetError, match="ends after 9 of 9 frames"):
        film[9]


def test_a_film_that_lies_on_its_side_is_turned_upright(tmp_path: Path):
    """As phones write them: the matrix of the track's header turns by a quarter, clockwise."""
    path = tmp_path / "phone.mp4"
    with FilmWriter(path, Fraction(10)) as writer:
        picture = np.zeros((48, 64, 3), np.uint8)
        picture[:20, :20] = 250  # upper left
        writer.add(picture)
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40
    content[start : start + 36] = np.array([0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30], ">i4").tobytes()
    path.write_bytes(content)
    turned = Film(str(path))[0].image
    assert turned.shape == (64, 48, 3)
    assert turned[8, -8].mean() > 200 > turned[8, 8].mean()


def test_films_and_cameras_are_told_from_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    texts = "a.mp4", "a.MOV", "0", "camera:12", "a.png", "folder", "*.jpg", "camera:"
    assert [text for text in texts if is_film(text)] == ["a.mp4", "a.MOV", "0", "camera:12"]
    for name in ("0", "frames.mp4"):
        (tmp_path / name).mkdir()
        assert not is_film(name)


def bad_film(folder: Path, kind: str) -> Path:
    path = folder / "film.mp4"
    if kind == "cut":
        path.write_bytes(write(path, 9).read_bytes()[:-900])
    elif kind == "text":
        path.write_text("no film " * 99)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "no frames":
        write(path, 0, "mpeg4")
    elif kind == "sound":
        container = av.open(str(path), "w")
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.rate = 44100
        container.mux([*stream.encode(sound), *stream.encode()])
        container.close()
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("cut", "cut off"),
        ("text", "cannot be read as a film"),
        ("empty", "cannot be read as a film"),
        ("no frames", "film.mp4: "),
        ("sound", "holds no pictures"),
        ("missing", "no such file"),
    ],
)
def test_what_is_no_film_is_refused_in_a_sentence(tmp_path: Path, kind: str, said: str):
    with pytest.raises(DatasetError, match=said):
        Film(str(bad_film(tmp_path, kind)))


def test_a_camera_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="--frames 300"):
        Film("camera:99")
    with pytest.raises(DatasetError, match="camera 99: cannot be opened"):
        Film("camera:99", frames=3)


def test_without_pyav_it_is_said_what_to_install(film: Path, monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ConfigError, match=r"pip install 'panoptic-blend\[video\]'"):
        Film(str(film))


def test_a_film_gives_maps_of_every_frame_and_a_film_to_look_at(predictor: Predictor, film: Path, tmp_path: Path):
    result = predict(predictor, film, tmp_path, overlays=True)
    assert (result.images, result.written, result.failures) == (FRAMES, FRAMES, [])
    data = json.loads((tmp_path / "predictions.json").read_text())
    frames = [(image["video_id"], image["frame_id"]) for image in data["images"]]
    assert frames == [("street", i) for i in range(FRAMES)]
    assert len(list((tmp_path / "predictions" / "street").glob("*.png"))) == FRAMES
    assert len(list((tmp_path / "overlays" / "street").glob("*.jpg"))) == FRAMES
    painted = Film(str(tmp_path / "overlay.mp4"))
    assert (len(painted), painted.rate) == (FRAMES, 10)
    assert not list(tmp_path.glob(".*"))


def test_frames_of_odd_sides_and_of_several_sizes_become_a_film(tmp_path: Path):
    with FilmWriter(tmp_path / "odd.mp4", Fraction(30000, 1001)) as writer:
        for size in ((31, 45), (31, 45), (60, 20)):
            writer.add(np.full((*size, 3), 200, np.uint8))
    film = Film(str(tmp_path / "odd.mp4"))
    assert (len(film), film[0].image.shape, film.rate) == (3, (32, 46, 3), Fraction(30000, 1001))
    assert abs(int(film[2].image.mean()) - 200) < 4


def test_a_stopped_film_goes_on_with_the_same_ids(
    predictor: Predictor, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    predict(predictor, film, tmp_path / "whole")
    real, calls = predictor.predict_batch, 0

    def stop(images: Any) -> list[Prediction]:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return real(images)

    monkeypatch.setattr(predictor, "predict_batch", stop)
    with pytest.raises(KeyboardInterrupt):
        predict(predictor, film, tmp_path / "stopped")
    kept = len(json.loads((tmp_path / "stopped" / "predictions.json").read_text())["images"])
    assert 1 <= kept <= 3
    assert len(Film(str(tmp_path / "stopped" / "overlay.mp4"))) == kept
    monkeypatch.setattr(predictor, "predict_batch", real)
    result = predict(predictor, film, tmp_path / "stopped")
    assert (result.written, result.earlier) == (FRAMES, kept)
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")
    assert len(Film(str(tmp_path / "stopped" / "overlay.mp4"))) == FRAMES
    with pytest.raises(DatasetError, match="--overwrite"):  # other ids
        write_film(predictor, Film(str(film)), tmp_path / "stopped", QUIET, track=False)


def test_a_frame_that_comes_late_takes_no_ids_of_later_ones(
    predictor: Predictor, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Three squares at three places, one a frame: each is another thing."""
    columns = iter([0, 0, 0, 20, 20, 20, 40])

    def see(images: list[np.ndarray]) -> list[Prediction]:
        found = []
        for image in images:
            id_map = np.zeros(image.shape[:2], np.int32)
            column = next(columns)
            id_map[:8, column : column + 8] = 1
            thing = next(each for each in SHAPES if each.is_thing)
            found.append(Prediction(image, PanopticMap(id_map, [Segment(1, thing.id, True, 0.9, 64)]), SHAPES))
        return found

    def ids() -> list[int]:
        rows = json.loads((tmp_path / "predictions.json").read_text())["annotations"]
        return [segment["id"] for row in rows for segment in row["segments_info"]]

    monkeypatch.setattr(predictor, "predict_batch", see)
    predict(predictor, film, tmp_path)
    first = len(SHAPES) + 1
    assert ids() == [first] * 3 + [first + 1] * 3
    (tmp_path / "predictions" / "street" / "000001.png").unlink()
    predict(predictor, film, tmp_path)
    assert ids() == [first, first + 2, first] + [first + 1] * 3


def test_what_a_cut_film_holds_is_predicted_and_the_rest_reported(predictor: Predictor, tmp_path: Path):
    whole = write(tmp_path / "whole.mp4", 9, "mpeg4", container_options={"movflags": "faststart"})
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:-150])
    film = Film(str(cut))
    result = write_film(predictor, film, tmp_path / "out", QUIET)
    assert 1 <= result.written < 9
    assert len(Film(str(tmp_path / "out" / "overlay.mp4"))) == result.written
    assert len(result.failures) == (result.written < len(film))


def test_the_command(film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    torch.manual_seed(0)
    save_model(build_model(talkative_model_config(), SHAPES), tmp_path / "tiny.safetensors")
    words = ["predict", "--checkpoint", str(tmp_path / "tiny.safetensors"), "--input"]
    out = ["--output", str(tmp_path / "out")]
    assert main([*words, str(film), *out, "--track", "--frames", "3"]) == 0
    assert "Predicted 3 of 3 frames" in capsys.readouterr().out
    shutil.copy(tmp_path / "out" / "predictions.json", tmp_path / "truth.json")
    shutil.copytree(tmp_path / "out" / "predictions", tmp_path / "truth")
    files = [f"--ground-truth={tmp_path}/truth.json", f"--predictions={tmp_path}/out/predictions.json"]
    assert main(["score", "--video", *files, f"--output={tmp_path}/metrics.json"]) == 0
    video = json.loads((tmp_path / "metrics.json").read_text())["video"]
    assert video["stq"]["SQ"] == video["vpq"]["VPQ"] == 100
    (tmp_path / "file").write_text("")
    capsys.readouterr()
    for wrong, said in (
        ([str(film), str(film), *out], "one film at a time"),
        ([str(tmp_path), *out, "--track"], "for films and cameras"),
        ([str(film), *out, "--annotations", "x.json"], "not a film"),
        ([str(film), "--output", str(tmp_path / "file")], str(tmp_path / "file")),
        ([str(tmp_path / "none.mp4"), *out], "no such file"),
    ):
        assert main([*words, *wrong]) in (1, 2)
        told = capsys.readouterr().err
        assert said in told
        assert "fault of this program" not in told
