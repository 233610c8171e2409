"""What the server remembers of the last pictures, so that a slider need not run the network again."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass

from panoptic_blend.serving.limits import Refusal
from panoptic_blend.serving.uploads import Picture
from panoptic_blend.structures import PanopticPrediction


@dataclass(frozen=True, eq=False)
class Kept:
    """A picture and what one model saw in it.

    Attributes:
        model: its name.
        picture: the file.
        found: what the merge starts from; None of a model that gives the map alone.
    """

    model: str
    picture: Picture
    found: PanopticPrediction | None

    @property
    def size(self) -> int:
        """Bytes of memory."""
        size = len(self.picture.data)
        if self.found is not None:
            instances = self.found.instances
            tensors = (instances.boxes, instances.scores, instances.labels, instances.mask_patches)
            size += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
            size += self.found.semantic.nbytes + self.found.id_map.nbytes
        return size


class KeptPictures:
    """The last pictures, as many as fit. Whoever knows the id of one may ask for it, and nobody can guess one.

    Args:
        most_bytes: of all together.
    """

    def __init__(self, most_bytes: int):
        self.most_bytes = most_bytes
        self.bytes = 0
        self._entries: OrderedDict[str, Kept] = OrderedDict()

    def add(self, entry: Kept) -> str | None:
        """Keep one, and let the oldest go; its id, or None when it alone is too large."""
        if entry.size > self.most_bytes:
            return None
        key = secrets.token_urlsafe(16)
        self._entries[key] = entry
        self.bytes += entry.size
        while self.bytes > self.most_bytes:
            self.bytes -= self._entries.popitem(last=False)[1].size
        return key

    def get(self, key: str) -> Kept:
        """The entry of an id, which is the latest again.

        Raises:
            Refusal: there is none, or none any more.
        """
        if key not in self._entries:
            raise Refusal(404, "This picture is not kept any more. Send it again.")
        self._entries.move_to_end(key)
        return self._entries[key]

    def clear(self) -> None:
        """Keep none of them any longer."""
        self._entries.clear()
        self.bytes = 0
