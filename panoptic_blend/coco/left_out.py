"""Images that cannot be used, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from panoptic_blend.errors import DatasetError

ImageId = int | str
OnBadSample = Literal["raise", "skip"]


@dataclass(frozen=True)
class BadSample:
    """A sample that cannot be used.

    Attributes:
        file_name: of the image, as in the annotations; the place in the JSON where no image is known.
        reason: the sentence that says what to mend.
    """

    file_name: str
    reason: str


class LeftOut:
    """Faults of single images: raised at once, or noted so that all other images can be used.

    Args:
        on_bad_sample: "raise" or "skip".

    Attributes:
        samples: what was noted, one entry for each image.
        ids: of the images that were noted.
    """

    def __init__(self, on_bad_sample: OnBadSample = "raise"):
        self.raises = on_bad_sample == "raise"
        self.samples: list[BadSample] = []
        self.ids: set[ImageId] = set()

    def add(self, fault: DatasetError, file_name: str, image_id: ImageId | None) -> None:
        """Raise the fault, or note it; `image_id` is None for a row that belongs to no image."""
        if self.raises:
            raise fault
        if image_id not in self.ids:
            self.samples.append(BadSample(file_name, str(fault)))
        if image_id is not None:
            self.ids.add(image_id)
