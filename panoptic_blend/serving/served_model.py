"""A model as the server asks it: with thresholds that come with every request."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from panoptic_blend.categories import Categories
from panoptic_blend.config import MergeConfig
from panoptic_blend.errors import ConfigError, DatasetError
from panoptic_blend.files.images import Pixels
from panoptic_blend.files.pictures import RGB
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.runtime.exported import ExportedModel
from panoptic_blend.serving.kept import Kept
from panoptic_blend.serving.limits import Refusal
from panoptic_blend.serving.uploads import Picture
from panoptic_blend.structures import PanopticMap, PanopticPrediction

if TYPE_CHECKING:
    from panoptic_blend.inference.torch_model import TorchModel
    from panoptic_blend.serving.explaining import Followed


class ServedModel:
    """A predictor that nobody else uses, since its thresholds change with every request. One thread at a time may call.

    Args:
        name: by which requests ask for it.
        predictor: of the model.

    Raises:
        ConfigError: it reads other bands than RGB, which the page does not show.
    """

    def __init__(self, name: str, predictor: Predictor):
        if predictor.engine.channels != RGB:
            raise ConfigError(
                f"{name}: reads {predictor.engine.channels} bands (model.input.channels); models of RGB alone are "
                "served. Use `predict`."
            )
        self.name = name
        self.predictor = predictor
        settings = predictor.settings
        self.thresholds = MergeConfig(settings.min_score, settings.max_overlap, settings.min_stuff_area)
        """Its own."""

    @property
    def categories(self) -> Categories:
        """Of the data set that it predicts."""
        return self.predictor.categories

    @property
    def torch_model(self) -> TorchModel | None:
        """The model, when torch runs it: then the merge runs on its own."""
        engine = self.predictor.engine
        if isinstance(engine, ExportedModel):
            return None
        from panoptic_blend.inference.torch_model import TorchModel

        assert isinstance(engine, TorchModel)
        return engine

    @property
    def explains(self) -> bool:
        """Whether `explain` can show how its masks come about: only the blender mixes bases by attention."""
        model = self.torch_model
        if model is None:
            return False
        from panoptic_blend.modeling.network.masks.blender import Blender

        return isinstance(model.model.mask_head, Blender)

    def network_size(self, picture: Picture) -> tuple[int, int]:
        """(height, width) at which the network sees a picture; it may turn out the other way round."""
        return self.predictor.engine.input_size(picture.height, picture.width)

    def without_folder(self, text: str) -> str:
        """A text in which an exported model is called by its name, not by where it lies on this machine."""
        engine = self.predictor.engine
        return text.replace(str(engine.folder), self.name) if isinstance(engine, ExportedModel) else text

    def predict(self, pictures: Sequence[Picture], thresholds: MergeConfig) -> list[PanopticMap | DatasetError]:
        """Predict pictures together; for one that cannot be decoded, the reason."""
        decoded = [_decode(picture) for picture in pictures]
        pixels = [each for each in decoded if not isinstance(each, DatasetError)]
        self.set(thresholds)
        found = iter(self.predictor.predict_batch(pixels))
        return [each if isinstance(each, DatasetError) else next(found).panoptic for each in decoded]

    def merge(self, kept: Kept, thresholds: MergeConfig) -> PanopticMap:
        """What this model saw, with other thresholds; where it gives the map alone, it looks again.

        Raises:
            DatasetError: the picture is none that this model takes.
        """
        model = self.torch_model
        if model is not None and isinstance(kept.found, PanopticPrediction):
            return model.merge(kept.found, thresholds)
        (found,) = self.predict([kept.picture], thresholds)
        if isinstance(found, DatasetError):
            raise found
        return found

    def explain(self, kept: Kept, thresholds: MergeConfig, segment: int) -> Followed:
        """How the object came about that a segment of a kept picture shows.

        Raises:
            Refusal: no object has this id, or this model cannot be followed.
            DatasetError: the picture cannot be decoded.
        """
        model = self.torch_model
        if model is None or kept.found is None or not self.explains:
            raise Refusal(404, "Bases and attention are those of a checkpoint with a blender; this model has none.")
        from panoptic_blend.serving.explaining import follow

        self.set(thresholds)
        return follow(model, kept.picture.decode(), kept.found, thresholds, segment)

    def set(self, thresholds: MergeConfig) -> None:
        """Let the next predictions use these."""
        for field in dataclasses.fields(thresholds):
            setattr(self.predictor.settings, field.name, getattr(thresholds, field.name))


def _decode(picture: Picture) -> Pixels | DatasetError:
    try:
        return picture.decode()
    except DatasetError as error:
        return error
