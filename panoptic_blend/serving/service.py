"""What the server does for a request, apart from HTTP."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from panoptic_blend.config import MergeConfig
from panoptic_blend.errors import ConfigError, DatasetError, out_of_memory
from panoptic_blend.serving.kept import Kept, KeptPictures
from panoptic_blend.serving.limits import Limits, Refusal
from panoptic_blend.serving.served_model import ServedModel
from panoptic_blend.serving.uploads import Uploads, open_picture
from panoptic_blend.serving.worker import Worker
from panoptic_blend.structures import PanopticMap, PanopticPrediction

if TYPE_CHECKING:
    from panoptic_blend.serving.explaining import Followed

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a model saw in a picture.

    Attributes:
        model: that did.
        found: the map.
        thresholds: it was merged with.
        key: of the picture, where it is kept.
    """

    model: ServedModel
    found: PanopticMap
    thresholds: MergeConfig
    key: str | None


class Service:
    """Models behind one thread and one line of waiting requests. Belongs to one event loop.

    Args:
        models: the first answers requests that name none.
        limits: of memory and patience.
        batch: pictures of one size at the network's input that are predicted together, at most.
    """

    def __init__(self, models: Sequence[ServedModel], limits: Limits, batch: int = 1):
        self.models = {model.name: model for model in models}
        self.limits = limits
        self.uploads = Uploads(limits)
        self.kept = KeptPictures(limits.kept_bytes)
        self.worker = Worker(limits, batch)

    def model(self, name: str | None) -> ServedModel:
        """A model by its name, or the first.

        Raises:
            Refusal: there is none of this name.
        """
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise Refusal(404, f"There is no model of this name here. There are: {', '.join(self.models)}.")
        return self.models[name]

    async def predict(
        self, chunks: AsyncIterator[bytes], model: str | None, changed: Mapping[str, Any], keep: bool
    ) -> Seen:
        """Predict a picture that is being sent.

        Args:
            chunks: of its file.
            model: its name.
            changed: thresholds that are not the model's own.
            keep: the picture and what was seen, for `merge`.

        Raises:
            Refusal: the request cannot be fulfilled, or not now.
        """
        data = await self.uploads.read(chunks)
        served = self.model(model)
        picture = await asyncio.to_thread(open_picture, data, self.limits.picture_pixels)
        thresholds = dataclasses.replace(served.thresholds, **changed)
        predict = partial(served.predict, thresholds=thresholds)
        key = (served.name, dataclasses.astuple(thresholds), served.network_size(picture))
        found: PanopticMap = await self._compute(served, key, predict, picture)
        if not keep:
            return Seen(served, found, thresholds, None)
        start = found if isinstance(found, PanopticPrediction) else None
        return Seen(served, found, thresholds, self.kept.add(Kept(served.name, picture, start)))

    async def merge(self, key: str, changed: Mapping[str, Any]) -> Seen:
        """Merge a kept picture again.

        Raises:
            Refusal: it is not kept any more, or not now.
        """
        kept = self.kept.get(key)
        served = self.model(kept.model)
        thresholds = dataclasses.replace(served.thresholds, **changed)
        found = await self._compute(
            served, object(), lambda entries: [served.merge(each, thresholds) for each in entries], kept
        )
        return Seen(served, found, thresholds, key)

    async def explain(self, key: str, changed: Mapping[str, Any], segment: int) -> tuple[ServedModel, Followed]:
        """How the object came about that a segment of a kept picture shows.

        Raises:
            Refusal: it is not kept any more, or no object has this id, or not now.
        """
        kept = self.kept.get(key)
        served = self.model(kept.model)
        thresholds = dataclasses.replace(served.thresholds, **changed)
        followed = await self._compute(
            served, object(), lambda entries: [served.explain(each, thresholds, segment) for each in entries], kept
        )
        return served, followed

    async def _compute(
        self, model: ServedModel, key: Hashable, work: Callable[[Sequence[Item]], Sequence[Any]], item: Item
    ) -> Any:
        try:
            return await self.worker.run(key, work, item)
        except (ConfigError, DatasetError) as error:
            raise Refusal(422, f"This cannot be predicted: {model.without_folder(str(error))}") from error
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            model.predictor.engine.release_memory()
            raise Refusal(503, "Memory ran out. Scale the picture down, or try again later.", retry_after=30) from error
