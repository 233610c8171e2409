"""A model that predicts pictures tile by tile."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from panoptic_blend.data.images import to_tensor
from panoptic_blend.files.images import Bands
from panoptic_blend.files.on_disk import large_zeros, leave_memory, strips
from panoptic_blend.inference.picture_norms import begin_pass, forget, measuring, share_norms
from panoptic_blend.inference.stitching import Stitcher, TilePrediction, ids
from panoptic_blend.inference.tiles import GRID, Span, check_tiles, cut
from panoptic_blend.inference.torch_model import AroundTorchModel, TorchModel
from panoptic_blend.modeling.network import NetworkOutput
from panoptic_blend.modeling.postprocess.instances import place_in_output
from panoptic_blend.modeling.postprocess.merge import place_instances
from panoptic_blend.structures import PanopticMap

MEASURED_TILES = 32
"""Tiles of a picture, at most, in which norms are measured, spread evenly over it."""
MEASURED_TIMES = 2
"""What a norm sees depends on the norms before it: the second time these know the picture."""


class TiledModel(AroundTorchModel):
    """Pictures go through the network in tiles, at their own size, and come back as one map; see `Stitcher`.

    Settings of size do not apply.

    Args:
        model: predicts each tile.
        tile: side in pixels.
        overlap: pixels that neighbours share at least: more than what the network needs to see around a place, and more
            than most objects.

    Attributes:
        watch: is told, after each tile, how much of its picture is done, from 0 to 1.

    Raises:
        ConfigError: sizes that make no tiling.
    """

    has_detections = False
    """The detections of tiles are not those of the picture."""

    def __init__(self, model: TorchModel, tile: int, overlap: int):
        check_tiles(tile, overlap)
        super().__init__(model)
        self.tile = tile
        self.overlap = overlap
        self.norms = share_norms(model.model.network)
        self.watch: Callable[[float], None] = lambda part: None

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """The picture's own size: tiles are not resized."""
        return height, width

    def predict(self, images: Sequence[Bands]) -> list[PanopticMap]:
        """Predict pictures, [H, W, C] of 8 or 16 bits, one after the other.

        Of a `RowsOfTiff` only what a row of tiles covers is decoded at a time; a large picture's id map is on disk.

        Raises:
            ResourceError: there is no room for it.
        """
        return [self._predict(image) for image in images]

    def _predict(self, image: Bands) -> PanopticMap:
        self.settings.check()
        rows, columns = (cut(length, self.tile, self.overlap) for length in image.shape[:2])
        self._know_picture(image, rows, columns)
        stitcher = Stitcher(rows, columns, self.categories, self.settings.min_stuff_area)
        id_map = large_zeros(image.shape[:2], np.int32)
        top = 0
        for codes in stitcher.strips(self._tiles(image, rows, columns)):
            id_map[top : top + len(codes)] = codes
            top += len(codes)
            leave_memory(id_map)
        segments, thing_ids, stuff_ids = stitcher.finish()
        for part in strips(id_map):
            id_map[part] = ids(id_map[part], thing_ids, stuff_ids)
        return PanopticMap(id_map, segments)

    def _know_picture(self, image: Bands, rows: Sequence[Span], columns: Sequence[Span]) -> None:
        """Let the network's group norms have the statistics of the picture, measured in tiles from all over it."""
        forget(self.norms)
        if not self.norms or len(rows) * len(columns) == 1:
            return
        tiles = list(itertools.product(rows, columns))
        chosen = tiles[:: -(-len(tiles) // MEASURED_TILES)]
        for _ in range(MEASURED_TIMES):
            with measuring(self.norms):
                for row, column in chosen:
                    self._run(image[row.start : row.stop, column.start : column.stop])

    @torch.no_grad()
    def _run(self, pixels: Bands) -> NetworkOutput:
        begin_pass(self.norms)
        return self.model.model.network(self.model.model.input_rule([to_tensor(pixels).to(self.model.device)]))

    def _tiles(self, image: Bands, rows: Sequence[Span], columns: Sequence[Span]) -> Iterator[TilePrediction]:
        for number, (row, column) in enumerate(itertools.product(rows, columns), start=1):
            found = self._predict_tile(image[row.start : row.stop, column.start : column.stop])
            self.watch(number / (len(rows) * len(columns)))
            yield found

    @torch.no_grad()
    def _predict_tile(self, pixels: Bands) -> TilePrediction:
        model, size = self.model.model, (pixels.shape[0], pixels.shape[1])
        steps = model.postprocess
        output = self._run(pixels)
        detections = steps.detect(output, 0)
        instances = place_in_output(detections, steps.draw_masks(output, detections), size, size)
        things, placements = place_instances(instances, self.settings.min_score, self.settings.max_overlap)
        placed = [each.index for each in placements if each.segment_id]
        logits = None
        if output.semantic is not None:
            logits = output.semantic[0, :, : -(-size[0] // GRID), : -(-size[1] // GRID)].float().cpu()
        return TilePrediction(
            things.numpy(), instances.labels[placed].tolist(), instances.scores[placed].tolist(), logits
        )

    def made_with(self) -> dict[str, object]:
        """What predictions depend on beside the pictures, as JSON can hold it."""
        return {**self.model.made_with(), "tile": self.tile, "overlap": self.overlap}
