"""The images of annotations as they are on disk, with their truth where there is any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from panoptic_blend.coco.annotations import ImageRecord, PanopticAnnotations
from panoptic_blend.coco.id_maps import read_segments
from panoptic_blend.coco.json_rows import ImageId
from panoptic_blend.coco.samples import check_image_size
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.images import Bands
from panoptic_blend.files.pictures import read_picture
from panoptic_blend.structures import IdMap


@dataclass
class EvaluationSample:
    """One image as it is on disk.

    Attributes:
        image: [H, W, C] of 8 or 16 bits, as `read` gives it.
        record: its row of the annotations.
        id_map: int32 [H, W], or None when the annotations have no segments.
    """

    image: Bands
    record: ImageRecord
    id_map: IdMap | None


@dataclass(frozen=True)
class ImageLocation:
    """Which image it is, and its file."""

    image_id: ImageId
    file_name: str
    path: Path


class EvaluationDataset:
    """Images as they are, with their truth where there is any.

    Processes share the work by `indices=range(rank, len(annotations), world_size)`: no image twice, no padding.

    Args:
        annotations: of the images.
        images: folder of the images.
        segments: folder of the id-map PNGs; None leaves the truth out.
        indices: which images of the annotations to use; all when None.
        read: opens an image file.
    """

    def __init__(
        self,
        annotations: PanopticAnnotations,
        images: Path,
        segments: Path | None,
        indices: Sequence[int] | None = None,
        read: Callable[[Path], Bands] = read_picture,
    ):
        self.annotations = annotations
        self.images = images
        self.segments = segments
        self.read = read
        self.indices = range(len(annotations)) if indices is None else indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> EvaluationSample:
        """Load one image and its id map.

        Raises:
            DatasetError: image or id map cannot be read or do not fit the annotations.
        """
        record = self.annotations[int(self.indices[index])]
        image = read_image_of(record, self.images, self.read)
        id_map = None
        if self.segments is not None:
            id_map = read_segments(record, self.segments, self.annotations.categories, self.annotations.path)
        return EvaluationSample(image, record, id_map)

    def locate(self, index: int) -> ImageLocation:
        """Id, name and file of an image."""
        record = self.annotations[int(self.indices[index])]
        return ImageLocation(record.image_id, record.file_name, self.images / record.file_name)

    def only(self, indices: Sequence[int]) -> EvaluationDataset:
        """Some of the images, one at least, in a copy that is small enough to be sent to another process."""
        part = self.annotations.only([int(self.indices[index]) for index in indices])
        return EvaluationDataset(part, self.images, self.segments, read=self.read)

    def check_files(self) -> None:
        """See that every image and id map is there, without opening any.

        Raises:
            DatasetError: some are not; names the first.
        """
        asked, missing = 0, []
        for index in self.indices:  # one record at a time: all of them would be a copy of the JSON
            record = self.annotations[int(index)]
            paths = [self.images / record.file_name]
            if self.segments is not None:
                paths.append(self.segments / record.segments_file_name)
            asked += len(paths)
            missing += [str(path) for path in paths if not path.is_file()]
        if missing:
            shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
            raise DatasetError(
                f"{shown}: no such file, of {asked} that {self.annotations.path} asks for. Check the folders of "
                "images and id maps, and the file_names in the annotations."
            )


def read_image_of(record: ImageRecord, images: Path, read: Callable[[Path], Bands] = read_picture) -> Bands:
    """Decode the image of a record, [H, W, C].

    Args:
        images: folder of the images.
        read: opens an image file.

    Raises:
        DatasetError: it cannot be read, or is not of the size that the record says.
    """
    path = images / record.file_name
    image = read(path)
    check_image_size(path, (image.shape[0], image.shape[1]), record)
    return image
