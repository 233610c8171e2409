"""A Lightning logger that remembers what it is given, and fails when told to."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.loggers import Logger
from PIL import Image


class Recorder(Logger):
    """Keeps everything in memory; `Recorder.last` is the newest."""

    last: Recorder
    fails_at: int | None = None
    """Step at which writing figures fails."""
    opens = True

    def __init__(self, save_dir: str):
        super().__init__()
        type(self).last = self
        self.folder = save_dir
        self.settings: dict[str, Any] = {}
        self.figures: list[tuple[int | None, dict[str, float]]] = []
        self.pictures: list[tuple[int, str, Image.Image]] = []
        self.ends: list[str] = []

    @property
    def name(self) -> str:
        return "recorder"

    @property
    def version(self) -> str:
        return "0"

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        if not self.opens:
            raise KeyError("no\nkey")
        self.settings = params

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        if step == self.fails_at:
            raise OSError("the server is gone")
        self.figures.append((step, metrics))

    def log_image(self, key: str, images: list[Image.Image], step: int) -> None:
        self.pictures += [(step, key, image) for image in images]

    def finalize(self, status: str) -> None:
        self.ends.append(status)
